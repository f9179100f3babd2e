//! The command line as a person uses it: the program itself, files in and out, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use andamento_model::library::{Card, MODELS};
use andamento_model::network::Pace;
use andamento_model::schedule::Schedule;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

mod folder;
mod recipes;

use folder::Folder;

impl Folder {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs the program in the folder.
    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_andamento"));
        // A library of its own: what a person has imported is no matter of the tests.
        command.env("ANDAMENTO_HOME", self.file("home"));
        command.current_dir(&self.0).args(arguments.split_whitespace()).args(["--device", "cpu"]);
        command.output().expect("the program starts")
    }

    /// Runs it and expects success; standard output.
    #[track_caller]
    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs it and expects an exit code and a sentence that names something.
    #[track_caller]
    fn fails(&self, arguments: &str, code: i32, names: &str) {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(errors.contains(names), "{arguments}: “{errors}” does not name {names}");
        assert!(!errors.contains("panicked"), "{arguments}: {errors}");
    }
}

/// A picture with some structure in every channel, 16 bit.
fn photograph(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        let [a, b] = [x as f32 / width as f32, y as f32 / height as f32];
        let ripple = (a * 23.0).sin() * (b * 17.0).cos() * 0.1;
        Rgb([a + ripple, b + ripple, 1.0 - a * b].map(|sample| (sample.clamp(0.0, 1.0) * 65535.0) as u16))
    };
    DynamicImage::ImageRgb16(ImageBuffer::from_fn(width, height, pixel))
}

fn disc(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 - width as f32 * 0.6, y as f32 - height as f32 * 0.45);
        Luma([if x.hypot(y) < height as f32 * 0.22 { 255 } else { 0 }])
    })
}

/// Counts differing pixels inside of the mask; fails if one outside differs.
#[track_caller]
fn changed(before: &DynamicImage, after: &DynamicImage, mask: &GrayImage) -> usize {
    assert_eq!((before.width(), before.height(), before.color()), (after.width(), after.height(), after.color()));
    let size = before.color().bytes_per_pixel() as usize;
    let pixels = before.as_bytes().chunks_exact(size).zip(after.as_bytes().chunks_exact(size));
    let mut inside = 0;
    for ((before, after), mask) in pixels.zip(mask.pixels()) {
        if mask.0[0] == 0 {
            assert_eq!(before, after, "a pixel outside of the mask changed");
        } else if before != after {
            inside += 1;
        }
    }
    inside
}

fn open(path: &Path) -> DynamicImage {
    image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn inpainting_changes_the_mask_alone_and_is_repeatable() {
    let folder = Folder::new("inpaint");
    let (width, height) = (331, 207);
    let mask = disc(width, height);
    mask.save(folder.file("mask.png")).expect("mask");
    photograph(width, height).save(folder.file("deep.png")).expect("16 bit");
    let shallow = photograph(width, height).to_rgb8();
    shallow.save(folder.file("shallow.jpg")).expect("jpeg");
    for source in ["deep.png", "shallow.jpg"] {
        let run = format!("inpaint --image {source} --mask mask.png --seed 7 --steps 24");
        folder.succeeds(&format!("{run} -o a.png"));
        folder.succeeds(&format!("{run} -o b.png"));
        let inside = changed(&open(&folder.file(source)), &open(&folder.file("a.png")), &mask);
        let masked = mask.pixels().filter(|pixel| pixel.0[0] > 0).count();
        assert!(inside > masked / 2, "{source}: only {inside} of {masked} masked pixels changed");
        let [a, b] = ["a.png", "b.png"].map(|name| std::fs::read(folder.file(name)).expect("result"));
        assert_eq!(a, b, "{source}: the same seed gave two different files");
    }
}

#[test]
fn a_ledger_replays_the_picture() {
    let folder = Folder::new("ledger");
    photograph(200, 160).save(folder.file("in.png")).expect("picture");
    disc(200, 160).save(folder.file("mask.png")).expect("mask");
    let run = "inpaint --image in.png --mask mask.png --order hierarchical --steps 20 --seed 3 --top-k 50";
    folder.succeeds(&format!("{run} --ledger run.json --frames frames -o a.png"));
    folder.succeeds("replay run.json -o b.png");
    folder.succeeds("replay run.json --verify -o c.png");
    let [a, b, c] = ["a.png", "b.png", "c.png"].map(|name| std::fs::read(folder.file(name)).expect("result"));
    assert_eq!(a, b, "the replay differs");
    assert_eq!(a, c, "the verified replay differs");
    let frames = std::fs::read_dir(folder.file("frames")).expect("frames").count();
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.file("run.json")).expect("ledger")).expect("JSON");
    assert_eq!(frames, ledger["steps"].as_array().expect("steps").len(), "a picture per step");

    folder.fails("replay run.json -o in.png", 2, "in.png is the source itself");
    let text = std::fs::read_to_string(folder.file("run.json")).expect("ledger");
    folder.write("foreign.json", text.replace("scenes-randar", "randar-xl"));
    folder.fails("replay foreign.json -o d.png", 1, "randar-xl");
    let whole: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let [mut tall, mut vast, mut coded] = [whole.clone(), whole.clone(), whole];
    tall["lattice"]["scales"][0]["rows"] = 4_000_000_000_u64.into();
    vast["frame"]["size"] = serde_json::json!([4_000_000_000_u32, 4_000_000_000_u32]);
    coded["given"][0][1] = 4_000_000_000_u32.into();
    for (name, ledger) in [("tall.json", tall), ("vast.json", vast), ("coded.json", coded)] {
        folder.write(name, ledger.to_string());
        folder.fails(&format!("replay {name} -o d.png"), 1, name);
    }
    photograph(201, 160).save(folder.file("in.png")).expect("another picture");
    folder.fails("replay run.json -o d.png", 1, "in.png");
    folder.write("text.json", "hello");
    folder.fails("replay text.json -o d.png", 1, "text.json");
    folder.fails("replay missing.json -o d.png", 1, "missing.json");
}

#[test]
fn the_ending_says_as_what_a_result_is_written() {
    let folder = Folder::new("endings");
    photograph(120, 90).save(folder.file("in.png")).expect("picture");
    disc(120, 90).save(folder.file("mask.png")).expect("mask");
    let run = "inpaint --image in.png --mask mask.png --seed 3 --steps 8";
    for name in ["a.png", "a.tif", "a.webp", "a.jpg", "a.ora"] {
        folder.succeeds(&format!("{run} -o {name}"));
    }
    let [png, tiff] = ["a.png", "a.tif"].map(|name| open(&folder.file(name)));
    assert_eq!(png, tiff, "16 bits are kept by both");
    assert_eq!(open(&folder.file("a.webp")), png.to_rgb8().into(), "lossless at 8 bit");
    assert_eq!(open(&folder.file("a.jpg")).width(), 120);
    let bytes = |name: &str| std::fs::read(folder.file(name)).expect("result");
    assert_eq!(bytes("a.ora")[30..54], *b"mimetypeimage/openraster");
    let has = |name: &str, text: &[u8]| bytes(name).windows(text.len()).any(|window| window == text);
    for text in [&b"parameters"[..], b"andamento", b"compositeWithTrainedAlgorithmicMedia", b"Seed: 3"] {
        assert!(has("a.png", text), "{}", String::from_utf8_lossy(text));
    }
    assert!(has("a.jpg", b"compositeWithTrainedAlgorithmicMedia"));
    folder.succeeds(&format!("{run} --no-metadata -o b.png"));
    assert!(!has("b.png", b"tEXt") && !has("b.png", b"iTXt") && !has("b.png", b"Seed"));
    assert_eq!(open(&folder.file("b.png")), png);
}

#[test]
fn outpainting_grows_the_canvas_and_keeps_the_picture() {
    let folder = Folder::new("outpaint");
    let picture = photograph(140, 120);
    picture.save(folder.file("in.png")).expect("picture");
    folder.succeeds("outpaint --image in.png --left 10 --right 40 --bottom 6 --seed 1 --steps 24 -o out.png");
    let out = open(&folder.file("out.png"));
    assert_eq!((out.width(), out.height(), out.color()), (190, 126, picture.color()));
    let kept = out.crop_imm(10, 0, 140, 120);
    assert_eq!(kept.as_bytes(), picture.as_bytes(), "the old picture changed");
}

/// The sample extended by twice its own width: several passes, what was added is made and nothing else, every token that is
/// announced is made, and the ledger makes it again.
#[test]
fn a_long_extension_is_made_in_several_passes() {
    let folder = Folder::new("long");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/samples/lake-at-dusk.png");
    std::fs::copy(&sample, folder.file("in.png")).expect("the sample");
    let arguments = "outpaint --image in.png --right 1024 --seed 3 --steps 6 --json --ledger long.json -o out.png";
    let report: serde_json::Value = serde_json::from_str(&folder.succeeds(arguments)).expect("JSON");
    let passes = report["passes"].as_u64().expect("a number");
    assert!(passes > 2, "{report}");
    let (sample, out) = (open(&sample), open(&folder.file("out.png")));
    assert_eq!((out.width(), out.height()), (1536, 512));
    assert_eq!(out.crop_imm(0, 0, 512, 512).as_bytes(), sample.as_bytes(), "the old picture changed");
    let added = out.crop_imm(512, 0, 1024, 512).to_rgb8();
    let columns = (0..1024).filter(|x| (1..512).any(|y| added.get_pixel(*x, y) != added.get_pixel(*x, 0)));
    assert_eq!(columns.count(), 1024, "something is in every column of what was added");
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.file("long.json")).expect("a ledger")).expect("JSON");
    let parts = std::iter::once(&ledger).chain(ledger["later"].as_array().expect("later passes"));
    let made = |part: &serde_json::Value| -> usize {
        part["steps"].as_array().expect("steps").iter().map(|step| step["made"].as_array().map_or(0, Vec::len)).sum()
    };
    let parts: Vec<usize> = parts.map(made).collect();
    assert_eq!(
        (parts.len() as u64, parts.iter().sum::<usize>() as u64),
        (passes, report["tokens"].as_u64().unwrap_or(0))
    );
    folder.succeeds("replay long.json --verify -o again.png");
    assert_eq!(open(&folder.file("again.png")).as_bytes(), out.as_bytes());
}

/// Pixels along the side of a token of the usual model.
fn stride(folder: &Folder) -> u64 {
    let models: serde_json::Value = serde_json::from_str(&folder.succeeds("models --json")).expect("JSON");
    let of_first = |field: &str| models[0][field].as_u64().expect("a number");
    of_first("side") / of_first("grid")
}

#[test]
fn outpainting_may_see_the_whole_canvas_at_once() {
    let folder = Folder::new("whole");
    let picture = photograph(100, 100);
    picture.save(folder.file("in.png")).expect("picture");
    let arguments = "outpaint --image in.png --right 290 --whole --class 3 --seed 1 --steps 24 --json";
    let report = folder.succeeds(&format!("{arguments} --ledger wide.json -o out.png"));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let seen = |side: usize| report["seen_at"][side].as_u64().expect("a side");
    assert!(seen(0) > 3 * seen(1), "{report}");
    // The left of the canvas is given: 100 of 390 pixels, and the token on the seam is made again.
    let stride = stride(&folder);
    let (rows, cols) = (seen(1) / stride, seen(0) / stride);
    assert_eq!(report["tokens"], rows * (cols - rows));
    let out = open(&folder.file("out.png"));
    assert_eq!((out.width(), out.height()), (390, 100));
    assert_eq!(out.crop_imm(0, 0, 100, 100).as_bytes(), picture.as_bytes(), "the old picture changed");
    folder.succeeds("replay wide.json --verify -o again.png");
    assert_eq!(open(&folder.file("again.png")).as_bytes(), out.as_bytes());
}

#[test]
fn a_new_picture_may_be_refined() {
    let folder = Folder::new("refined");
    let arguments = "generate --refine 2 --scg 2 --class 2 --steps 24 --seed 5 --json --ledger fine.json -o out.png";
    let report: serde_json::Value = serde_json::from_str(&folder.succeeds(arguments)).expect("JSON");
    let side = report["width"].as_u64().expect("width");
    assert_eq!((&report["seen_at"][0], &report["seen_at"][1]), (&side.into(), &side.into()));
    assert_eq!(report["tokens"], (side / stride(&folder)).pow(2));
    folder.succeeds("replay fine.json --verify -o again.png");
    let [out, again] = ["out.png", "again.png"].map(|name| open(&folder.file(name)));
    assert_eq!(out.as_bytes(), again.as_bytes());
    folder.fails("generate --refine 9 -o a.png", 2, "refinement by 9");
    folder.fails("generate --refine 2 --order raster -o a.png", 2, "order");
    folder.fails("generate --refine 2 --scg nan -o a.png", 2, "--scg");
}

#[test]
fn generating_reports_what_it_did() {
    let folder = Folder::new("generate");
    let report = folder.succeeds("generate --class 2 --order spiral-in --steps 32 --cfg 2 --seed 5 --json -o out.png");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["tokens"], 256);
    assert_eq!(report["steps"], 32);
    let out = open(&folder.file("out.png"));
    assert_eq!(u64::from(out.width()), report["width"].as_u64().expect("width"));
    let named = folder.succeeds("generate --class 2 --steps 8 --seed 5");
    assert!(named.contains("scene-andamento-001.png"), "{named}");
    assert!(folder.file("scene-andamento-001.png").exists());
}

/// The cards of all bundled models.
fn bundled() -> impl Iterator<Item = Card> {
    MODELS.iter().map(|model| model.card().expect("a card"))
}

#[test]
fn every_bundled_model_generates_inpaints_and_outpaints_in_its_own_way() {
    let folder = Folder::new("bundled");
    let (width, height) = (80, 64);
    let picture = photograph(width, height);
    picture.save(folder.file("in.png")).expect("picture");
    disc(width, height).save(folder.file("mask.png")).expect("mask");
    for card in bundled() {
        let (id, abilities) = (&card.id, card.abilities().expect("abilities"));
        let pace = if matches!(abilities.pace, Pace::Free) { "--steps 6" } else { "" };
        let rest = format!("--model {id} --class 3 --seed 5 {pace} --json");
        let report = |arguments: &str| -> serde_json::Value {
            serde_json::from_str(&folder.succeeds(&format!("{arguments} {rest}"))).expect("JSON")
        };
        let made = report("generate -o new.png");
        let steps = match abilities.schedule(Some(6)) {
            Schedule::Cosine { steps } => steps,
            Schedule::OneByOne | Schedule::Windows { .. } => card.grid * card.grid,
            Schedule::Scales => abilities.scales,
        };
        assert_eq!(made["steps"], steps, "{id}: {made}");
        let new = open(&folder.file("new.png")).to_rgb8();
        assert_eq!(new.dimensions(), (card.side, card.side), "{id}");
        assert!(new.pixels().any(|pixel| pixel != new.get_pixel(0, 0)), "{id}: the picture is empty");

        report("inpaint --image in.png --mask mask.png -o filled.png");
        let inside = changed(&picture, &open(&folder.file("filled.png")), &disc(width, height));
        assert!(inside > 0, "{id}: nothing was filled");

        report("outpaint --image in.png --right 24 --ledger run.json -o wide.png");
        let wide = open(&folder.file("wide.png"));
        assert_eq!((wide.width(), wide.height()), (width + 24, height), "{id}");
        assert_eq!(wide.crop_imm(0, 0, width, height).as_bytes(), picture.as_bytes(), "{id}: the old picture changed");
        folder.succeeds("replay run.json --verify -o again.png");
        assert_eq!(open(&folder.file("again.png")).as_bytes(), wide.as_bytes(), "{id}");
    }
}

#[test]
fn a_painted_order_is_followed_and_replayed() {
    let folder = Folder::new("order-path");
    let path = r#"[{ "width": 10, "points": [[250, 250], [250, 6], [6, 6]] }, { "width": 4, "points": [[128, 6]], "erase": true }]"#;
    folder.write("path.json", path);
    let run =
        "generate --class 2 --order raster --steps 24 --seed 5 --order-path path.json --ledger run.json -o out.png";
    folder.succeeds(run);
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.file("run.json")).expect("a ledger")).expect("JSON");
    assert_eq!((&ledger["version"], ledger["path"].as_array().map(Vec::len)), (&5.into(), Some(2)));
    let sites =
        ledger["steps"].as_array().expect("steps").iter().flat_map(|step| step["made"].as_array().expect("made"));
    let sites: Vec<u64> = sites.map(|made| made["site"].as_u64().expect("a site")).collect();
    let side = (sites.len() as f64).sqrt() as u64;
    assert_eq!(sites[0], side * side - 1, "from the lower right corner,");
    assert!(sites[..side as usize].iter().all(|site| site % side == side - 1), "upwards");
    folder.succeeds("replay run.json --verify -o again.png");
    let [out, again] = ["out.png", "again.png"].map(|name| open(&folder.file(name)));
    assert_eq!(out.as_bytes(), again.as_bytes());
    let notes = std::fs::read(folder.file("out.png")).expect("a picture");
    assert!(String::from_utf8_lossy(&notes).contains("painted path + raster"), "the picture says it");

    folder.write("bad.json", "[{\"width\": 3}]");
    folder.fails("generate --order-path bad.json -o a.png", 1, "bad.json");
    folder.write("bad.json", "[{\"width\": -3, \"points\": [[1, 1]]}]");
    folder.fails("generate --order-path bad.json -o a.png", 1, "bad.json");
    folder.fails("generate --order-path none.json -o a.png", 1, "none.json");
}

#[test]
fn painted_boldness_is_felt_and_replayed() {
    let folder = Folder::new("boldness");
    let side = 256;
    let grey = |name: &str, side: u32, level: &dyn Fn(u32) -> u8| {
        let grey = image::GrayImage::from_fn(side, side, |x, _| image::Luma([level(x)]));
        grey.save(folder.file(name)).expect("a picture");
    };
    // Black on the left, 50 % in the middle, white on the right.
    grey("bold.png", side, &|x| [0, 128, 128, 255][(x / 64) as usize]);
    grey("neutral.png", side, &|x| 127 + (x % 2) as u8);
    let run = |more: &str| format!("generate --class 2 --steps 24 --seed 5 {more}");
    folder.succeeds(&run("--boldness bold.png --ledger run.json -o bold-out.png"));
    let ledger: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.file("run.json")).expect("a ledger")).expect("JSON");
    assert!(ledger["version"] == 5 && ledger["boldness"].is_string());
    let made =
        ledger["steps"].as_array().expect("steps").iter().flat_map(|step| step["made"].as_array().expect("made"));
    for made in made {
        let factor = made.get("boldness").map_or(1.0, |factor| factor.as_f64().expect("a number"));
        let column = made["site"].as_u64().expect("a site") % 16;
        assert_eq!(factor, [0.25, 1.0, 1.0, 4.0][column as usize / 4], "column {column}");
    }
    folder.succeeds("replay run.json --verify -o again.png");
    let same = |a: &str, b: &str| open(&folder.file(a)).as_bytes() == open(&folder.file(b)).as_bytes();
    assert!(same("bold-out.png", "again.png"));
    let notes = std::fs::read(folder.file("bold-out.png")).expect("a picture");
    assert!(String::from_utf8_lossy(&notes).contains("Boldness: painted"), "the picture says it");
    folder.succeeds(&run("-o plain.png"));
    folder.succeeds(&run("--boldness neutral.png -o neutral-out.png"));
    assert!(same("plain.png", "neutral-out.png") && !same("plain.png", "bold-out.png"));

    grey("small.png", 64, &|_| 0);
    folder.fails(&run("--boldness small.png -o a.png"), 1, "small.png");
    folder.fails(&run("--boldness none.png -o a.png"), 1, "none.png");
    folder.fails(&run("--boldness bold.png -o bold.png"), 2, "itself");
    folder.fails(&run("--boldness bold.png --temperature 0 -o a.png"), 2, "--boldness");
    folder.fails(&run("--boldness bold.png --top-k 1 -o a.png"), 2, "--boldness");
}

#[test]
fn lists_and_checks() {
    let folder = Folder::new("lists");
    let orders: serde_json::Value = serde_json::from_str(&folder.succeeds("orders --json")).expect("JSON");
    assert_eq!(orders.as_array().map(Vec::len), Some(andamento_model::order::ORDERS.len()));
    assert!(folder.succeeds("models").contains("alpine lake, dusk"));
    let doctor: serde_json::Value = serde_json::from_str(&folder.succeeds("doctor --json")).expect("JSON");
    assert_eq!(doctor["self_test"]["passed"], true, "{doctor}");
    let bench = folder.succeeds("bench --size bundled --seconds 1 --json");
    let bench: serde_json::Value = serde_json::from_str(&bench).expect("JSON");
    for figure in ["ms_per_step_mean", "tokens_per_second", "of_copy", "of_product", "first_step_ms", "preview_ms"] {
        assert!(bench[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {bench}");
    }
}

#[test]
fn a_tokenizer_is_evaluated_and_its_card_written() {
    let folder = Folder::new("evaluate");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    let read = |file: &str| std::fs::read(assets.join(file)).expect("bundled");
    let card: serde_json::Value = serde_json::from_slice(&read("scenes-randar/config.json")).expect("JSON");
    let of_tokenizer = serde_json::json!({ "kind": card["tokenizer"]["kind"], "config": card["tokenizer"]["config"] });
    std::fs::create_dir(folder.file("vq")).expect("folder");
    folder.write("vq/config.json", of_tokenizer.to_string());
    folder.write("vq/weights.safetensors", read("scenes-vq/weights.safetensors"));
    folder.write("vq/card.md", "# Ours\n");

    let arguments = "evaluate vq --pictures 3 --side 64 --seed 5";
    let report = folder.succeeds(&format!("{arguments} --write-card --json"));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let figures = report["tokenizer"].as_array().expect("figures");
    let psnr =
        figures.iter().find(|figure| figure["name"] == "PSNR").expect("PSNR")["value"].as_f64().expect("a number");
    assert!((10.0..40.0).contains(&psnr), "{report}");
    let card = std::fs::read_to_string(folder.file("vq/card.md")).expect("card");
    assert!(card.starts_with("# Ours\n") && card.contains(&format!("| PSNR | {psnr:.2} dB |")), "{card}");
    let command = card.split('`').find(|part| part.starts_with("andamento evaluate vq")).expect("a command line");
    // The test names the device itself.
    let command = command.replace("andamento ", "").replace(" --device cpu", "");
    let again = folder.succeeds(&format!("{command} --json"));
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["tokenizer"], report["tokenizer"], "the card's command gives other figures");
    folder.fails("evaluate vq --pictures 2 --side 63", 2, "side");
}

#[test]
fn bad_input_is_named() {
    let folder = Folder::new("bad");
    photograph(64, 48).save(folder.file("in.png")).expect("picture");
    GrayImage::new(64, 48).save(folder.file("empty.png")).expect("mask");
    GrayImage::from_pixel(64, 47, Luma([255])).save(folder.file("small.png")).expect("mask");
    GrayImage::from_pixel(64, 48, Luma([255])).save(folder.file("mask.png")).expect("mask");
    folder.write("notes.png", "not a picture");
    RgbImage::new(8, 8).save(folder.file("tiny.png")).expect("picture");
    let with = |rest: &str| format!("inpaint --image in.png --mask mask.png --seed 1 {rest}");
    for (arguments, code, names) in [
        ("inpaint --image missing.png --mask mask.png".into(), 1, "missing.png"),
        ("inpaint --image in.png --mask missing.png".into(), 1, "missing.png"),
        ("inpaint --image notes.png --mask mask.png".into(), 1, "notes.png"),
        ("inpaint --image in.png --mask notes.png".into(), 1, "notes.png"),
        ("inpaint --image in.png --mask small.png".into(), 1, "small.png"),
        ("inpaint --image in.png --mask empty.png".into(), 1, "empty.png"),
        (with("--order sideways -o o.png"), 2, "sideways"),
        (with("--class zebra -o o.png"), 2, "zebra"),
        (with("--class 24 -o o.png"), 2, "24"),
        (with("--steps 0 -o o.png"), 2, "steps"),
        (with("--temperature nan -o o.png"), 2, "temperature"),
        (with("--top-p 0 -o o.png"), 2, "top-p"),
        (with("--cfg inf -o o.png"), 2, "cfg"),
        (with("-o o.gif"), 2, "o.gif"),
        (with("-o in.png"), 2, "in.png"),
        (with("-o mask.png"), 2, "mask.png"),
        (with("--ledger mask.png -o o.png"), 2, "mask.png"),
        (with("-o nowhere/o.png"), 1, "nowhere"),
        (with("--model nothing -o o.png"), 2, "nothing"),
        ("outpaint --image in.png".into(), 2, "outpaint"),
        (with("--cfg -1 -o o.png"), 2, "--cfg"),
        (with("--cfg 3 -o o.png"), 2, "--class"),
        (with("--class 1 --cfg-power 1 -o o.png"), 2, "--cfg-power"),
        (with("--class 1 --cfg-schedule power-cosine --cfg-power nan -o o.png"), 2, "--cfg-power"),
        (with("--class 1 --cfg-interval 4 -o o.png"), 2, "--cfg-interval"),
        (with("--class 1 --cfg-schedule scales -o o.png"), 2, "scales"),
        (with("--class 1 --cfg 1 --scg 2 -o o.png"), 2, "--scg"),
        (with("--ledger nowhere/run.json -o o.png"), 1, "nowhere"),
        (with("--ledger in.png -o o.png"), 2, "--ledger"),
        (with("--ledger o.png -o o.png"), 2, "--ledger"),
        ("generate --refine 40000 -o o.png".into(), 2, "refinement by 40000"),
        ("outpaint --image in.png --left 4294967295 --right 1".into(), 2, "200 megapixels"),
        ("evaluate nothing".into(), 2, "nothing"),
        ("evaluate scenes-randar --pictures 3".into(), 2, "--pictures"),
        ("evaluate scenes-randar --reference 3".into(), 2, "--reference"),
        ("evaluate scenes-randar --inception missing.pth".into(), 1, "missing.pth"),
        ("evaluate scenes-randar --inception notes.png".into(), 1, "notes.png"),
        ("evaluate scenes-randar --data nowhere".into(), 1, "nowhere"),
        ("evaluate scenes-randar --data .".into(), 1, "two sets of"),
        ("evaluate scenes-randar --write-card".into(), 2, "--write-card"),
        ("evaluate scenes-randar --against nothing".into(), 2, "nothing"),
        ("evaluate scenes-randar --against scenes-randar@scales".into(), 2, "--against"),
        ("bench --size huge".into(), 2, "huge"),
        ("bench --family nothing".into(), 2, "RandAR, LlamaGen"),
        ("bench --family rar --size huge".into(), 2, "RAR has no “huge”. Choose one of S, B"),
        ("bench --family open-magvit2 --size bundled".into(), 2, "B, L, XL"),
        ("bench --family llamagen --steps 5".into(), 2, "--steps"),
        ("bench --steps 0".into(), 2, "--steps"),
        ("bench --seconds nan".into(), 2, "--seconds"),
        ("bench --cfg nan".into(), 2, "--cfg"),
        ("train missing.toml".into(), 1, "missing.toml"),
        ("paint".into(), 1, "paint"),
        ("orders --device toaster".into(), 2, "toaster"),
    ] {
        folder.fails(&arguments, code, names);
    }
    let before = std::fs::read(folder.file("in.png")).expect("source");
    folder.succeeds(&with("--steps 4"));
    assert!(folder.file("in-andamento-001.png").exists());
    assert_eq!(before, std::fs::read(folder.file("in.png")).expect("source"), "the source was touched");
}

/// Trains twice, once killed again and again and started anew: the same figures and the same weights to the last bit.
fn trains_and_resumes(folder: &Folder, recipe: &str, batch: usize, rest: &str) {
    let broken = format!("{recipe}-broken");
    for name in [recipe, &broken] {
        folder.write(&format!("{name}/train.toml"), recipes::tiny(recipe, batch, rest));
    }
    folder.succeeds(&format!("train {recipe}/train.toml"));
    let run = folder.file(&format!("{broken}/andamento-run"));
    let checkpoints = || -> Vec<_> {
        let entries = std::fs::read_dir(&run).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("checkpoint-0")).collect()
    };
    for _ in 0..3 {
        let before = checkpoints();
        let mut child = Command::new(env!("CARGO_BIN_EXE_andamento"))
            .current_dir(&folder.0)
            .args(["train", &format!("{broken}/train.toml"), "--device", "cpu"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the program starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while checkpoints() == before && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(!checkpoints().is_empty(), "no checkpoint came");
    }
    folder.succeeds(&format!("train {broken}/train.toml"));
    let both =
        |file: &str| [recipe, &broken].map(|name| std::fs::read(folder.file(&format!("{name}/{file}"))).expect(file));
    let [whole, resumed] = both("andamento-run/metrics.csv");
    assert!(whole == resumed, "{recipe}: the resumed run has other losses");
    let [whole, resumed] = both("model/weights.safetensors");
    assert!(whole == resumed, "{recipe}: the resumed run reached other weights");
}

#[test]
fn training_resumes_where_it_was_killed() {
    let folder = Folder::new("train");
    recipes::pictures(&folder.0);
    for (recipe, batch, rest) in recipes::TINY {
        trains_and_resumes(&folder, recipe, *batch, rest);
    }
    // What was trained opens by its folder.
    for (model, steps) in [("randar", "--steps 3"), ("llamagen", ""), ("rar", ""), ("tensorar", ""), ("var", "")] {
        let ledger = format!("{model}-run.json");
        let arguments = format!("generate --model {model}/model --class 2 {steps} --seed 1");
        folder.succeeds(&format!("{arguments} --ledger {ledger} -o a.png"));
        folder.succeeds(&format!("replay {ledger} --verify -o b.png"));
    }
    // Annealing is over: the exported RAR has one table of positions and knows its scan order alone.
    folder.fails("generate --model rar/model --class 2 --order random -o c.png", 2, "merged");
    folder.fails("generate --model vq/model -o c.png", 1, "config.json");
    folder.fails("generate --model nowhere -o c.png", 2, "folder");
    // In pieces, with what remains.
    let long = recipes::tiny("vq", 2, recipes::VQ).replace("steps = 50", "steps = 5000");
    folder.write("long/train.toml", long);
    folder.write("all.toml", "recipe = \"all\"\nruns = [\"long/train.toml\"]");
    let text = folder.succeeds("train all.toml --run runs --minutes 0.02");
    assert!(text.contains("what remains") && text.contains("of 5000"), "{text}");
    folder.fails("train all.toml --minutes 0", 2, "--minutes");
    folder.write("wrong.toml", "recipe = \"vq\"\nside = 3");
    folder.fails("train wrong.toml", 1, "wrong.toml");
}

/// Each in a process of its own, on tokens that one of them makes for all: the same weights as one after the other.
#[test]
fn runs_that_do_not_need_each_other_train_at_the_same_time() {
    let folder = Folder::new("at-once");
    recipes::pictures(&folder.0);
    for (recipe, batch, rest) in
        [("vq", 2, recipes::VQ), ("randar", 4, recipes::RANDAR), ("llamagen", 4, recipes::RANDAR)]
    {
        let text = recipes::tiny(recipe, batch, rest).replace("steps = 50", "steps = 6");
        folder.write(&format!("{recipe}/train.toml"), text);
    }
    let runs = |rest: &str| format!("recipe = \"all\"\nruns = [\"vq/train.toml\", {rest}]");
    folder.write("all.toml", runs("[\"randar/train.toml\", \"llamagen/train.toml\"]"));
    let weights = || {
        ["randar", "llamagen"]
            .map(|it| std::fs::read(folder.file(it).join("model/weights.safetensors")).expect("weights"))
    };
    folder.succeeds("train all.toml --run one-by-one");
    let one_by_one = weights();
    let output = folder.run("train all.toml --run at-once --at-once");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && told.contains("randar: RandAR") && told.contains("llamagen: LlamaGen"),
        "{told}"
    );
    assert!(weights() == one_by_one, "other weights came of it");
    let files = std::fs::read_dir(folder.file("at-once")).expect("a folder").flatten();
    let tokens = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("tokens-"));
    assert_eq!(tokens.count(), 1, "the tokens of both");
    // One that fails is named, and the other's work is kept.
    folder.write(
        "llamagen/train.toml",
        recipes::tiny("llamagen", 4, recipes::RANDAR).replace("clip = 1.0", "clip = 0.0"),
    );
    folder.fails("train all.toml --run broken --at-once", 1, "llamagen/train.toml");
    assert!(folder.file("broken/randar/checkpoint-000006").is_dir(), "the other run came to its end");
}

#[test]
fn imported_models_are_listed_verified_painted_with_and_removed() {
    let folder = Folder::new("models");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    let [generator, tokenizer] = ["scenes-randar", "scenes-vq"].map(|id| models.join(id).join("weights.safetensors"));
    let home = "--data-dir home";
    let text = folder.succeeds(&format!("models import {} {home}", generator.display()));
    assert!(text.contains("needs its tokenizer"), "{text}");
    // Imported models are named by family and sizes.
    let named = |text: &str| text.split("imported ").nth(1).and_then(|rest| rest.split(':').next()).map(str::to_owned);
    let generator = named(&text).filter(|id| id.starts_with("randar-")).expect("it says as what it was imported");
    folder.fails(&format!("generate --model {generator} {home} -o a.png"), 1, "LlamaGen VQ");
    let text = folder.succeeds(&format!("models import {} {home} --json", tokenizer.display()));
    let imported: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let tokenizer = imported["imported"][0]["id"].as_str().expect("an id");
    assert!(tokenizer.starts_with("llamagen-vq-"), "{tokenizer}");
    let listed: serde_json::Value =
        serde_json::from_str(&folder.succeeds(&format!("models {home} --json"))).expect("JSON");
    let ids: Vec<_> = listed.as_array().expect("a list").iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(ids[MODELS.len()..], [tokenizer, &generator]);
    assert_eq!(ids[..MODELS.len()], bundled().map(|card| card.id).collect::<Vec<_>>());
    folder.succeeds(&format!("generate --model {generator} --class 3 --steps 3 --seed 1 {home} -o a.png"));
    let pixels = open(&folder.file("a.png")).to_rgb8();
    assert!(pixels.pixels().any(|pixel| pixel != pixels.get_pixel(0, 0)), "the picture is empty");
    folder.succeeds(&format!("models verify {home}"));
    let weights = folder.file(&format!("home/models/{generator}/weights.safetensors"));
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("changed");
    folder.fails(&format!("models verify {home}"), 1, "SHA-256");
    let text = folder.succeeds(&format!("models remove {tokenizer} {home}"));
    assert!(text.contains(&format!("{generator} now lacks its tokenizer")), "{text}");
    folder.fails(&format!("models remove {tokenizer} {home}"), 2, &generator);
    folder.fails(&format!("models import {home}"), 2, "FILE");
}

#[test]
fn smooth_pictures_of_an_imported_var_replay_and_what_it_cannot_do_is_refused() {
    let folder = Folder::new("var");
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/var");
    let [generator, tokenizer] = ["var.pth", "vae.pth"].map(|name| goldens.join(name).display().to_string());
    let imported: serde_json::Value =
        serde_json::from_str(&folder.succeeds(&format!("models import {generator} --json"))).expect("JSON");
    let id = imported["imported"][0]["id"].as_str().expect("an id");
    assert!(folder.succeeds("models").contains("needs its tokenizer"), "the list hides what is lacking");
    folder.fails(&format!("generate --model {id} -o a.png"), 1, "VAR VQVAE");
    folder.succeeds(&format!("models import {tokenizer}"));
    assert!(!folder.succeeds("models").contains("needs its tokenizer"));
    folder.fails("generate --model nothing -o a.png", 2, id);

    photograph(90, 70).save(folder.file("in.png")).expect("picture");
    disc(90, 70).save(folder.file("mask.png")).expect("mask");
    let arguments = format!("inpaint --model {id} --image in.png --mask mask.png --class 1 --seed 4");
    folder.succeeds(&format!("{arguments} --smooth --ledger run.json -o a.png"));
    folder.succeeds(&format!("{arguments} -o b.png"));
    folder.succeeds("replay run.json -o c.png");
    folder.succeeds("replay run.json --verify -o d.png");
    let [a, b, c, d] = ["a.png", "b.png", "c.png", "d.png"].map(|name| open(&folder.file(name)));
    changed(&open(&folder.file("in.png")), &a, &disc(90, 70));
    assert_ne!(a.as_bytes(), b.as_bytes(), "the smooth mode changed nothing");
    assert_eq!(a.as_bytes(), c.as_bytes(), "the replay differs");
    assert_eq!(a.as_bytes(), d.as_bytes(), "the verified replay differs");
    for (rest, names) in [
        ("--order raster", "scales"),
        ("--steps 5", "--steps"),
        ("--refine 2", "RandAR"),
        ("--whole", "RandAR"),
        ("--scg 2", "RandAR"),
        ("--cfg-power 1", "--cfg-power"),
    ] {
        folder.fails(&format!("{arguments} {rest} -o e.png"), 2, names);
    }
}

#[test]
fn surprise_is_a_heat_map_a_mask_and_figures() {
    let folder = Folder::new("surprise");
    let (width, height) = (300, 230);
    photograph(width, height).save(folder.file("in.png")).expect("picture");
    let before = std::fs::read(folder.file("in.png")).expect("picture");
    let run = "surprise --image in.png --class 3";
    let report = folder.succeeds(&format!("{run} -o map.png --mask mask.png --share 25 --json"));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let tokens = report["tokens"].as_array().expect("tokens");
    let bits = |token: &serde_json::Value| token["bits"].as_f64().expect("bits");
    let selected = (tokens.len() as f64 * 0.25).round();
    assert_eq!(report["selected"], selected as u64);
    let mut sorted: Vec<f64> = tokens.iter().map(bits).collect();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(report["most"].as_f64(), sorted.last().copied());
    assert!(report["bits"].as_f64().expect("bits") >= sorted.iter().sum::<f64>() - 1e-6, "tokens may lie outside");
    let map = open(&folder.file("map.png"));
    assert_eq!((map.width(), map.height()), (width, height));
    assert!(!folder.file("in-surprise-andamento-001.png").exists());

    // The mask is one for inpainting.
    let mask = open(&folder.file("mask.png"));
    assert!(mask.color() == image::ColorType::L8 && (mask.width(), mask.height()) == (width, height));
    let white = mask.as_bytes().iter().filter(|byte| **byte == 255).count() as f64;
    assert!((0.15..0.3).contains(&(white / f64::from(width * height))), "{white} pixels");
    folder.succeeds("inpaint --image in.png --mask mask.png --seed 1 --steps 4 -o out.png");
    changed(&open(&folder.file("in.png")), &open(&folder.file("out.png")), &mask.into_luma8());

    // The same again is the same; another order, another class and another model are not.
    let map = std::fs::read(folder.file("map.png")).expect("map");
    folder.succeeds(&format!("{run} -o again.png"));
    assert_eq!(std::fs::read(folder.file("again.png")).expect("map"), map);
    for (other, name) in [("--order raster", "a.png"), ("--model scenes-var", "b.png"), ("--class 9", "c.png")] {
        folder.succeeds(&format!(
            "surprise --image in.png {} {other} -o {name}",
            if name == "c.png" { "" } else { "--class 3" }
        ));
        assert_ne!(std::fs::read(folder.file(name)).expect("map"), map, "{other}");
    }
    folder.succeeds(run);
    assert!(folder.file("in-surprise-andamento-001.png").exists(), "a new name beside the source");
    assert_eq!(std::fs::read(folder.file("in.png")).expect("picture"), before);

    folder.fails("surprise --image missing.png", 1, "missing.png");
    for (rest, names) in [
        ("--model none-such", "none-such"),
        ("--order none-such", "order"),
        ("--model scenes-var --order raster", "order"),
        ("--class zebra", "class"),
        ("-o in.png", "in.png is the source itself"),
        ("-o map.andamento", "--output"),
        ("-o map.ora", "--output"),
        ("--mask in.png", "--mask"),
        ("--mask m.png --share 101", "--share"),
        ("--share 20", "--mask"),
    ] {
        folder.fails(&format!("{run} {rest}").replace("--class 3 --class", "--class"), 2, names);
    }
}

#[test]
fn an_imported_rar_follows_another_order_and_says_that_it_is_an_experiment() {
    let folder = Folder::new("rar");
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens");
    let files = ["rar/rar.bin", "maskgit_vqgan/maskgit-vqgan.bin"].map(|name| goldens.join(name).display().to_string());
    let imported = folder.succeeds(&format!("models import {} --json", files.join(" ")));
    let imported: serde_json::Value = serde_json::from_str(&imported).expect("JSON");
    let id = imported["imported"][0]["id"].as_str().expect("an id");
    let run = |rest: &str| {
        let output = folder.run(&format!("generate --model {id} --class 1 --seed 1 {rest}"));
        assert!(output.status.success(), "{rest}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(run("--order spiral-in -o a.png").contains("Experimental"), "the order passes without a word");
    assert!(!run("-o b.png").contains("Experimental"));
    // A power of its own for the schedule that is RAR's anyway.
    run("--cfg 8 --cfg-power 0 -o c.png");
    run("--cfg 8 --cfg-schedule constant -o d.png");
    run("--cfg 8 --cfg-power 3 -o e.png");
    run("--cfg 8 --cfg-schedule constant --cfg-interval 2 -o f.png");
    let names = ["c.png", "d.png", "e.png", "f.png"];
    // The pixels alone: beside them each file says with which guidance it was made.
    let [c, d, e, f] = names.map(|name| open(&folder.file(name)).into_bytes());
    assert_ne!(d, f, "guidance did not end");
    assert_eq!(c, d, "a power of 0 is constant guidance");
    assert_ne!(c, e, "the power changed nothing");
}

#[test]
fn a_checkpoint_that_is_none_is_refused_and_the_others_are_imported() {
    let folder = Folder::new("refused");
    folder.write("evil.pth", b"cos\nsystem\n(S'touch touched'\ntR.");
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens");
    let good = goldens.join("var/var.pth");
    folder.fails(&format!("models import evil.pth missing.pth {} --data-dir home", good.display()), 1, "missing.pth");
    folder.fails("models import evil.pth --data-dir home", 1, "contains code; not run (os.system)");
    assert!(!folder.file("touched").exists(), "code of a checkpoint was run");
    let listed = folder.succeeds("models --data-dir home");
    assert!(listed.contains("VAR") && listed.contains("var.pth"), "{listed}");
}
