//! MaskGIT's VQGAN: as in `bytedance/1d-tokenizer`, and as in `ziqipang/RandAR`.

use std::collections::BTreeMap;

use andamento_model::checkpoint::{MASKGIT_KEYS, load};
use andamento_model::lattice::{Lattice, Token};
use andamento_model::tokenizer::{Tokenizer, to_picture};
use andamento_model::tokenizers::maskgit_vqgan::{MaskGitConfig, MaskGitTokenizer, MaskGitVqgan};
use andamento_tests::{Array, Golden, formula, goldens, json};
use burn::prelude::*;
use burn::tensor::{Int, s};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::{PIXELS, floats, ints};

fn pixels(array: &Array, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(array.values.clone(), array.shape.clone()), device)
}

fn codes(model: &MaskGitVqgan, pixels: Tensor<4>) -> Vec<i32> {
    model.encode(pixels).into_data().convert::<i32>().try_to_vec::<i32>().expect("codes")
}

#[test]
fn maskgit_vqgan_encodes_and_decodes() {
    let (folder, device) = (goldens("maskgit_vqgan"), Device::flex());
    let sizes = json(&folder.join("config.json"));
    let size = |name: &str| sizes[name].as_u64().unwrap_or_else(|| panic!("the configuration has no {name}")) as usize;
    let mult = sizes["channel_mult"].as_array().expect("channel_mult").iter();
    let config = MaskGitConfig {
        hidden_channels: size("hidden_channels"),
        channel_mult: mult.map(|mult| mult.as_u64().expect("a size") as usize).collect(),
        num_res_blocks: size("num_res_blocks"),
        z_channels: size("z"),
        codebook_size: size("V"),
    };
    let file = folder.join("maskgit_vqgan_weights.safetensors");
    let bytes = std::fs::read(&file).expect("weights");
    let model = load(MaskGitVqgan::new(&config, &device), bytes, &MASKGIT_KEYS, file).expect("the layout loads");
    let golden = Golden::read(&folder.join("maskgit_vqgan.safetensors"));
    let check = |name: &str, got: Tensor<4>| golden.get(name).assert_close(&floats(got), PIXELS, name);

    let image = pixels(golden.get("img01"), &device);
    let mut compared = 0;
    let mut stage = |name: String, x: &Tensor<4>| {
        if golden.names().any(|known| known == name) {
            check(&name, x.clone());
            compared += 1;
        }
    };
    let mut x = model.encoder.conv_in.forward(image.clone());
    for (index, level) in model.encoder.down.iter().enumerate() {
        x = level.forward(x);
        stage(format!("enc.down_{index}"), &x);
    }
    for (index, block) in model.encoder.mid.iter().enumerate() {
        x = block.forward(x);
        stage(format!("enc.mid_{index}"), &x);
    }
    check("z", model.encoder.forward(image.clone()));
    assert_eq!(codes(&model, image), golden.get("codes").ints());

    let [_, _, rows, cols] = golden.get("z_q").shape[..] else { panic!("z_q has four axes") };
    let chosen = ints(golden.get("codes"), &device);
    check("z_q", model.quantize.look_up(chosen.clone(), rows, cols));
    check("rec", model.decode(chosen, rows, cols));
    let random = ints(golden.get("rnd_codes"), &device);
    let features = model.quantize.look_up(random.clone(), rows, cols);
    check("rnd_z_q", features.clone());
    let mut x = model.decoder.conv_in.forward(features.clone());
    for (index, block) in model.decoder.mid.iter().enumerate() {
        x = block.forward(x);
        stage(format!("dec.mid_{index}"), &x);
    }
    for (index, level) in model.decoder.up.iter().enumerate().rev() {
        x = level.forward(x);
        stage(format!("dec.up_{index}"), &x);
    }
    check("rnd_dec_unclamped", model.decoder.forward(features));
    check("rnd_rec", model.decode(random, rows, cols));
    let stages = golden.names().filter(|name| name.starts_with("enc.") || name.starts_with("dec.")).count();
    assert_eq!(compared, stages, "every stage of the goldens is compared");
}

/// The weights in RandAR's goldens, which are kept as `sd.*` beside the results, and the sizes that they have.
fn randar_weights(device: &Device) -> (MaskGitConfig, MaskGitVqgan) {
    let file = goldens("randar").join("maskgit_golden.safetensors");
    let bytes = std::fs::read(&file).expect("weights");
    let golden = SafeTensors::deserialize(&bytes).expect("a golden file");
    let weights: BTreeMap<String, TensorView<'_>> =
        golden.iter().filter_map(|(name, view)| Some((name.strip_prefix("sd.")?.to_string(), view))).collect();

    let shape = |name: &str| weights[name].shape();
    let count = |prefix: &str| {
        let any = |index: &usize| weights.keys().any(|name| name.starts_with(&format!("{prefix}{index}.")));
        (0..).take_while(any).count()
    };
    let hidden_channels = shape("encoder.conv_in.weight")[0];
    let level = |level| shape(&format!("encoder.down.{level}.block.0.conv1.weight"))[0] / hidden_channels;
    let config = MaskGitConfig {
        hidden_channels,
        channel_mult: (0..count("encoder.down.")).map(level).collect(),
        num_res_blocks: count("encoder.mid."),
        z_channels: shape("quantize.embedding.weight")[1],
        codebook_size: shape("quantize.embedding.weight")[0],
    };
    let weights = safetensors::serialize(weights, None).expect("each name once");
    let model = load(MaskGitVqgan::new(&config, device), weights, &MASKGIT_KEYS, file).expect("the layout loads");
    (config, model)
}

#[test]
fn maskgit_vqgan_serves_randar() {
    let device = Device::flex();
    let golden = Golden::read(&goldens("randar").join("maskgit_golden.safetensors"));
    let (config, model) = randar_weights(&device);
    let check = |name: &str, got: Tensor<4>| golden.get(name).assert_close(&floats(got), PIXELS, name);

    let image = pixels(golden.get("image01"), &device);
    check("enc.z", model.encoder.forward(image.clone()));
    let want = golden.get("enc.indices").ints();
    assert_eq!(codes(&model, image.clone()), want);
    let raw = golden.get("dec.pixels_raw_unclamped");
    let (height, width) = (raw.shape[2], raw.shape[3]);
    let (rows, cols) = (height / config.stride(), width / config.stride());
    let random = ints(golden.get("dec.indices"), &device);
    check("dec.pixels_raw_unclamped", model.decoder.forward(model.quantize.look_up(random.clone(), rows, cols)));
    check("dec.pixels01", model.decode(random, rows, cols));

    let tokenizer = MaskGitTokenizer::new(model, config.stride(), config.codebook_size, &device);
    let sites = rows * cols;
    for sample in 0..raw.shape[0] {
        let samples: Tensor<3> = image.clone().slice(s![sample..sample + 1, .., .., ..]).squeeze_dim(0) * 2.0 - 1.0;
        let tokens = tokenizer.encode(samples).expect("encodes");
        let tokens: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        assert_eq!(tokens, want[sample * sites..(sample + 1) * sites], "tokens behind the seam");

        let tokens: Vec<Token> =
            golden.get("dec.indices").at(sample).ints().iter().map(|code| *code as Token).collect();
        let picture = tokenizer.decode(&Lattice::grid(rows, cols), &tokens).and_then(to_picture).expect("decodes");
        let bytes = golden.get("dec.uint8").at(sample).ints();
        let off = picture.as_raw().iter().zip(&bytes).filter(|(got, want)| i32::from(**got) != **want).count();
        assert!(off * 100 <= bytes.len(), "{off} of {} bytes differ", bytes.len());
    }
}

#[test]
fn maskgit_vqgan_takes_any_multiple_of_its_stride() {
    let device = Device::flex();
    let (config, model) = randar_weights(&device);
    let stride = config.stride();
    let tokenizer = MaskGitTokenizer::new(model, config.stride(), config.codebook_size, &device);
    let picture = |height, width| Tensor::<3>::zeros([3, height, width], &device);
    let tokens = tokenizer.encode(picture(2 * stride, 5 * stride)).expect("encodes");
    assert_eq!(tokens.len(), 10);
    assert_eq!(tokenizer.decode(&Lattice::grid(2, 5), &tokens).expect("decodes").dims(), [3, 2 * stride, 5 * stride]);
    assert!(tokenizer.encode(picture(2 * stride, 5 * stride + 1)).is_err(), "not a multiple of the stride");
    assert!(tokenizer.decode(&Lattice::grid(3, 5), &tokens).is_err(), "tokens of another grid");
}

#[test]
#[ignore = "MaskGIT's tokenizer at its published size takes about 5 s"]
fn maskgit_vqgan_at_real_size() {
    let device = Device::flex();
    let golden = Golden::read(&goldens("real_size").join("maskgit.safetensors"));
    let config = MaskGitConfig::imagenet();
    let bytes = formula::weights(&formula::published_keys("maskgit_vqgan"));
    let model = load(MaskGitVqgan::new(&config, &device), bytes, &MASKGIT_KEYS, "maskgit").expect("the layout loads");
    let check = |name: &str, got: Tensor<4>| {
        let want = golden.get(name);
        let largest = want.values.iter().map(|x| x.abs()).fold(0.0, f32::max);
        want.assert_close(&floats(got), PIXELS * largest, name);
    };
    const SIDE: usize = 256;
    let image: Vec<f32> = formula::uniform("input.maskgit.img", 3 * SIDE * SIDE).map(|u| u as f32).collect();
    let image = Tensor::from_data(TensorData::new(image, [1, 3, SIDE, SIDE]), &device);
    let features = model.encoder.forward(image);
    check("z", features.clone());
    let nearest = model.quantize.nearest(features).into_data().convert::<i32>().try_to_vec::<i32>().expect("codes");
    assert_eq!(nearest, golden.get("codes").ints());

    let grid = SIDE / config.stride();
    let random = formula::integers("input.maskgit.codes", grid * grid, config.codebook_size);
    let random = Tensor::<1, Int>::from_data(random.as_slice(), &device).unsqueeze();
    let decoded = model.decoder.forward(model.quantize.look_up(random, grid, grid));
    check("rnd_dec_unclamped_stride4", decoded.clone().slice(s![.., .., ..;4, ..;4]));
    check("rnd_dec_unclamped_crop", decoded.clone().slice(s![.., .., 120..136, 120..136]));
    let values = floats(decoded);
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let (least, most) = values.iter().fold((f32::MAX, f32::MIN), |(least, most), x| (least.min(*x), most.max(*x)));
    let want = golden.get("rnd_dec_mean_std");
    want.assert_close(
        &[mean as f32, variance.sqrt() as f32, least, most],
        PIXELS * most.abs().max(least.abs()),
        "mean, deviation, extremes",
    );
}
