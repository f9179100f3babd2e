//! LlamaGen's VQ tokenizer, `FoundationVision/LlamaGen`.

use andamento_model::checkpoint::{VQ_KEYS, load};
use andamento_model::lattice::{Lattice, Token};
use andamento_model::tokenizer::{Tokenizer, to_picture};
use andamento_model::tokenizers::llamagen_vq::{LlamaGenVq, VqConfig, VqModel};
use andamento_tests::{Golden, goldens, json};
use burn::prelude::*;
use burn::tensor::Int;

use super::{PIXELS, floats};

pub(super) struct VqCase {
    pub golden: Golden,
    pub model: VqModel,
    tokenizer: LlamaGenVq,
}

impl VqCase {
    pub(super) fn read(device: &Device) -> Self {
        let folder = goldens("randar");
        let sizes = json(&folder.join("vq_config.json"))["config"].clone();
        let list = |name: &str| -> Vec<usize> {
            sizes[name].as_array().expect(name).iter().map(|mult| mult.as_u64().expect("a size") as usize).collect()
        };
        let size =
            |name: &str| sizes[name].as_u64().unwrap_or_else(|| panic!("the configuration has no {name}")) as usize;
        let config = VqConfig {
            ch: size("ch"),
            encoder_ch_mult: list("mult"),
            decoder_ch_mult: list("dmult"),
            num_res_blocks: size("nrb"),
            z_channels: size("z"),
            codebook_size: size("n"),
            codebook_embed_dim: size("e"),
        };
        let file = folder.join("vq_tiny_f16.safetensors");
        let bytes = std::fs::read(&file).expect("weights");
        let model = load(VqModel::new(&config, device), bytes, &VQ_KEYS, file).expect("the published layout loads");
        let tokenizer = LlamaGenVq::new(model.clone(), config.stride(), config.codebook_size, device);
        Self { golden: Golden::read(&folder.join("vq_golden.safetensors")), model, tokenizer }
    }

    pub(super) fn image(&self, name: &str, device: &Device) -> Tensor<4> {
        let image = self.golden.get(name);
        Tensor::from_data(TensorData::new(image.values.clone(), image.shape.clone()), device)
    }
}

#[test]
fn vq_encodes_and_decodes() {
    let device = Device::flex();
    let case = VqCase::read(&device);
    for set in ["sq", "ns"] {
        let get = |name: &str| case.golden.get(&format!("{set}.{name}"));
        let image = case.image(&format!("{set}.image"), &device);
        let features = case.model.encoder.forward(image.clone());
        get("enc.encoder_out").assert_close(&floats(features.clone()), PIXELS, "encoder");
        get("enc.z_prequant").assert_close(&floats(case.model.quant_conv.forward(features)), PIXELS, "code space");
        let codes = case.model.encode(image);
        let codes = codes.into_data().convert::<i32>().try_to_vec::<i32>().expect("codes");
        assert_eq!(codes, get("enc.indices").ints(), "{set}: codes");

        let pixels = get("dec.pixels");
        let (batch, height, width) = (pixels.shape[0], pixels.shape[2], pixels.shape[3]);
        let (rows, cols) = (height / case.tokenizer.stride(), width / case.tokenizer.stride());
        let indices = get("dec.indices").ints();
        let codes = Tensor::<1, Int>::from_data(indices.as_slice(), &device).reshape([batch, rows * cols]);
        pixels.assert_close(&floats(case.model.decode(codes, rows, cols)), PIXELS, "decoder");

        let tokens: Vec<Token> = indices[..rows * cols].iter().map(|code| *code as Token).collect();
        let picture = case.tokenizer.decode(&Lattice::grid(rows, cols), &tokens).and_then(to_picture).expect("decodes");
        let bytes = get("dec.uint8_hwc_round_rule").at(0).ints();
        let off = picture.as_raw().iter().zip(&bytes).map(|(got, want)| (i32::from(*got) - want).abs()).max();
        assert!(off.is_some_and(|off| off <= 1), "{set}: bytes off by {off:?}");
    }
}
