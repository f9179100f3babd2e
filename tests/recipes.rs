//! Every recipe at a tiny size on 24 small pictures, for the tests of training and of the command line.

use std::fs;
use std::path::Path;

use andamento_model::picture::Picture;
use andamento_model::train::scenes::scene;

/// 24 small pictures of three classes, one that is broken and a file that is none, in the folder `pictures`.
pub(crate) fn pictures(place: &Path) {
    for index in 0..24 {
        let (class, name) = (index % 3, ["forest", "lake", "town"][index % 3]);
        let folder = place.join("pictures").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let picture = scene(8 * class + 1, index as u64, 24);
        let bytes = Picture::new(picture.into()).png_bytes().expect("a PNG");
        fs::write(folder.join(format!("{index:02}.png")), bytes).expect("written");
    }
    fs::write(place.join("pictures/lake/broken.png"), "this is no picture").expect("written");
    fs::write(place.join("pictures/readme.txt"), "nor is this").expect("written");
}

/// What all tiny configurations share.
const SHARED: &str = r#"
output = "model"
seed = 3
steps = 50
checkpoint_every = 10
sheet_every = 0
[data]
source = "folder"
folder = "../pictures"
side = 16
augment = "flip"
"#;

const OPTIMISER: &str = "
[optimiser]
learning_rate = 3e-3
warm_up = 4
clip = 1.0
";

/// LlamaGen's tokenizer.
pub(crate) const VQ: &str = r#"
[model]
ch = 32
encoder_ch_mult = [1, 1]
decoder_ch_mult = [1, 1]
num_res_blocks = 1
z_channels = 32
codebook_size = 32
codebook_embed_dim = 4
[method.vqgan]
restart_after = 200
perceptual = { kind = "structure", weight = 0.1 }
discriminator = { start = 8, weight = 0.1, channels = 8, layers = 1, adaptive = true }
"#;

/// VAR's tokenizer, crop by crop.
pub(crate) const MULTI_SCALE_VQ: &str = r#"
[model]
ch = 32
ch_mult = [1, 1, 1]
num_res_blocks = 1
z_channels = 8
vocab_size = 32
share_quant_resi = 2
v_patch_nums = [1, 2, 4]
[method.vqgan]
restart_after = 200
perceptual = { kind = "edges", weight = 0.5 }
[[method.vqgan.phases]]
from = 0
crop = 16
batch = 2
halvings = 1
[[method.vqgan.phases]]
from = 8
crop = 8
batch = 3
[[method.vqgan.phases]]
from = 40
crop = 16
batch = 2
"#;

/// RandAR, and LlamaGen, which has the same sizes.
pub(crate) const RANDAR: &str = r#"
[model]
dim = 32
n_layer = 2
n_head = 2
multiple_of = 32
"#;

const RAR: &str = r#"
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
"#;

const TENSORAR: &str = r#"
[model]
k = 2
depth = 1
[method]
base = "../llamagen/model"
"#;

/// VAR.
pub(crate) const VAR: &str = r#"
[model]
depth = 2
embed_dim = 32
num_heads = 2
shared_aln = true
attn_l2_norm = true
"#;

/// Every recipe at a tiny size, those that others stand on first: its folder and name, the batch, and the rest.
pub(crate) const TINY: &[(&str, usize, &str)] = &[
    ("vq", 2, VQ),
    ("randar", 4, RANDAR),
    ("llamagen", 4, RANDAR),
    ("rar", 4, RAR),
    ("tensorar", 4, TENSORAR),
    ("multi-scale-vq", 2, MULTI_SCALE_VQ),
    ("var", 4, VAR),
];

/// A configuration, to be written to a folder beside that of the pictures. A generator stands on the tokenizer of its family.
pub(crate) fn tiny(recipe: &str, batch: usize, rest: &str) -> String {
    let tokenizer = match recipe {
        "vq" | "multi-scale-vq" => String::new(),
        "var" => stands_on("multi-scale-vq"),
        _ => stands_on("vq"),
    };
    format!("recipe = \"{recipe}\"\nbatch = {batch}\n{SHARED}{OPTIMISER}{tokenizer}{rest}")
}

fn stands_on(tokenizer: &str) -> String {
    format!("[tokenizer]\nfolder = \"../{tokenizer}/model\"\n")
}
