//! What tokenizers are trained with, `FoundationVision/LlamaGen`: the quantiser's losses, PatchGAN and LPIPS.

use std::path::{Path, PathBuf};

use andamento_model::checkpoint::{KeyMap, load};
use andamento_model::train::lpips::Lpips;
use andamento_model::train::patch_gan::{Judgement, PatchGan, adversarial};
use andamento_tests::{Golden, goldens};
use burn::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

use super::llamagen_vq::VqCase;
use super::var_vqvae::tensor;
use super::{assert_gradients, floats, gradients};

use crate::folder::Folder;

/// The tolerance of a loss, absolute.
const LOSS: f32 = 1e-5;

#[test]
fn the_quantiser_s_losses_and_the_gradients_of_all() {
    let device = Device::flex().autodiff();
    let case = VqCase::read(&device);
    let pixels = case.image("sq.image", &device);
    let (z, dims) = case.model.encode_continuous(pixels.clone());
    let entropy = case.model.quantize.entropy(z.clone()) * 0.1;
    let quantised = case.model.quantize.straight_through(z);
    let commitment = quantised.commitment * 0.25;
    let error = (case.model.decode_continuous(quantised.codes, dims) - pixels).square().mean();
    let close = |name: &str, loss: &Tensor<1>| {
        case.golden.get(name).assert_close(&floats(loss.clone()), LOSS, name);
    };
    close("train.rec_l2", &error);
    close("train.vq_loss", &quantised.codebook);
    close("train.commit_loss", &commitment);
    close("train.entropy_loss_ratio0.1", &entropy);
    let total = error + quantised.codebook + commitment + entropy;
    close("train.total", &total);
    let gradients = gradients(&case.model, &total);
    let mut compared = 0;
    for name in case.golden.names() {
        let Some(parameter) = name.strip_prefix("train.grad.") else { continue };
        let want = case.golden.get(name);
        let largest = want.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // The entropy's temperature of 0.01 enlarges rounding: vectors moved by up to 1e-6 of the largest, as convolutions
        // in another sequence move them, change this gradient in f64 by up to 3.1e-4 of its largest value.
        let tolerance = if parameter == CODES { 3e-4 } else { 1e-4 };
        want.assert_close(&gradients.get(parameter).values, tolerance * largest, name);
        compared += 1;
    }
    assert_eq!(compared, 10, "gradients in the goldens");
}

/// Of the golden vectors, whose rounding is that of the goldens, the codebook's gradient is the golden one.
#[test]
fn the_codebook_s_gradient_of_golden_vectors() {
    let device = Device::flex().autodiff();
    let case = VqCase::read(&device);
    let z: Tensor<4> = case.image("sq.enc.z_prequant", &device);
    let [batch, dim, rows, cols] = z.dims();
    let z = z.permute([0, 2, 3, 1]).reshape([batch * rows * cols, dim]);
    let z = z.clone() / z.square().sum_dim(1).sqrt();
    let loss = case.model.quantize.straight_through(z.clone()).codebook + case.model.quantize.entropy(z) * 0.1;
    let gradients = gradients(&case.model, &loss);
    let want = case.golden.get(&format!("train.grad.{CODES}"));
    let largest = want.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    want.assert_close(&gradients.get(CODES).values, 3e-5 * largest, CODES);
}

/// The codebook's key.
const CODES: &str = "quantize.embedding.weight";

/// PatchGAN's keys in the goldens; whether `main.{index}` is a convolution, a norm or an activation follows from its place.
const PATCH_GAN_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &["num_batches_tracked"] };

#[test]
fn the_discriminator_judges_and_learns() {
    let device = Device::flex().autodiff();
    let golden = Golden::read(&goldens("randar").join("vq_golden.safetensors"));
    let weights = part(&golden, "disc.sd.");
    let fresh = |device: &Device| load(PatchGan::new(8, 3, device), weights.clone(), &PATCH_GAN_KEYS, "disc.sd");
    let image = |name: &str, device: &Device| tensor::<4>(golden.get(name), device);
    let close = |name: &str, values: Vec<f32>| golden.get(name).assert_close(&values, LOSS, name);

    let still = Device::flex();
    let settled = fresh(&still).expect("the published layout loads");
    close("disc.eval_logits_real", floats(settled.forward(image("disc.real", &still))));

    let learning = fresh(&device).expect("the published layout loads");
    let real = learning.forward(image("disc.real", &device));
    let made = learning.forward(image("disc.fake", &device));
    close("disc.train_logits_real", floats(real.clone()));
    close("disc.train_logits_fake", floats(made.clone()));
    close("disc.hinge_gen", floats(adversarial(made.clone())));
    close("disc.vanilla_d", floats(Judgement::Vanilla.loss(real.clone(), made.clone())));
    let loss = Judgement::Hinge.loss(real, made);
    close("disc.hinge_d", floats(loss.clone()));
    assert_gradients(&golden, "disc.grad.", &learning, &loss);
}

/// The goldens' weights by a formula of a tensor's number: in -`reach`..`reach`.
fn analytic(number: usize, count: usize, reach: f64) -> impl Iterator<Item = f32> {
    let value = move |index: usize| {
        let phase = (index + 1) as f64 * 0.618_033_988_749_894_9 + 0.123 * number as f64;
        ((phase.fract() - 0.5) * 2.0 * reach) as f32
    };
    (0..count).map(value)
}

/// The two files that LPIPS needs, with the goldens' weights.
fn lpips_files(folder: &Path) -> [PathBuf; 2] {
    const WIDTHS: [(usize, usize, usize); 13] = [
        (0, 3, 64),
        (2, 64, 64),
        (5, 64, 128),
        (7, 128, 128),
        (10, 128, 256),
        (12, 256, 256),
        (14, 256, 256),
        (17, 256, 512),
        (19, 512, 512),
        (21, 512, 512),
        (24, 512, 512),
        (26, 512, 512),
        (28, 512, 512),
    ];
    let mut vgg = Vec::new();
    for (number, (index, inputs, outputs)) in WIDTHS.into_iter().enumerate() {
        let reach = (6.0 / (inputs as f64 * 9.0)).sqrt();
        let weight = analytic(number, outputs * inputs * 9, reach).collect();
        vgg.push((format!("features.{index}.weight"), vec![outputs, inputs, 3, 3], weight));
        let bias = analytic(100 + number, outputs, 0.05).collect();
        vgg.push((format!("features.{index}.bias"), vec![outputs], bias));
    }
    let linear = [64, 128, 256, 512, 512].into_iter().enumerate().map(|(number, channels)| {
        let weight = analytic(200 + number, channels, 1.0).map(|value| value.abs() / channels as f32);
        (format!("lin{number}.model.1.weight"), vec![1, channels, 1, 1], weight.collect())
    });
    let files = [("vgg16.safetensors", vgg), ("vgg.safetensors", linear.collect())];
    files.map(|(name, tensors)| {
        let file = folder.join(name);
        std::fs::write(&file, safetensors_of(&tensors)).expect("a temporary file");
        file
    })
}

/// A safetensors file of these names, shapes and values.
fn safetensors_of(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize(views, None).expect("each name once")
}

/// The golden arrays whose names begin with `prefix`, under the rest of their names.
fn part(golden: &Golden, prefix: &str) -> Vec<u8> {
    let arrays = golden.names().filter_map(|name| Some((name.strip_prefix(prefix)?, golden.get(name))));
    let tensors: Vec<_> =
        arrays.map(|(name, array)| (name.to_string(), array.shape.clone(), array.values.clone())).collect();
    safetensors_of(&tensors)
}

#[test]
fn lpips_compares_features() {
    let device = Device::flex().autodiff();
    let golden = Golden::read(&goldens("randar").join("vq_golden.safetensors"));
    let folder = Folder::new("lpips");
    let [vgg, linear] = lpips_files(&folder.0);
    let lpips = Lpips::read(&vgg, &linear, &device).expect("both files load");
    let a: Tensor<4> = tensor(golden.get("lpips.a"), &device);
    let b: Tensor<4> = tensor::<4>(golden.get("lpips.b"), &device).require_grad();

    let close = |name: &str, values: Vec<f32>| {
        let want = golden.get(name);
        let largest = want.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // Features of almost equal direction are subtracted: the deepest layer's golden itself is 1.7e-4 from its value in
        // f64, all others within 3e-5.
        let tolerance = if name == "lpips.layer4" { 3e-4 } else { 1e-4 };
        want.assert_close(&values, tolerance * largest, name);
    };
    let features = lpips.features(a.clone());
    close("lpips.feat4_a", floats(features[4].clone()));
    for (index, features) in features.into_iter().enumerate() {
        close(&format!("lpips.feat{index}_mean_abs_a"), floats(features.abs().mean()));
    }
    let shares = lpips.shares(a.clone(), b.clone());
    for (index, share) in shares.iter().enumerate() {
        close(&format!("lpips.layer{index}"), floats(share.clone()));
    }
    close("lpips.value", floats(Tensor::cat(shares, 1).sum_dim(1)));
    let gradients = lpips.forward(a, b.clone()).backward();
    close("lpips.grad_wrt_b", floats(b.grad(&gradients).expect("a gradient")));
}

#[test]
fn lpips_names_what_a_file_lacks() {
    let device = Device::flex();
    let folder = Folder::new("lpips-exchanged");
    let [vgg, linear] = lpips_files(&folder.0);
    let error = Lpips::read(&linear, &vgg, &device).expect_err("the files are exchanged").to_string();
    assert!(error.contains("features.0.weight") && error.contains("vgg.safetensors"), "{error}");
}
