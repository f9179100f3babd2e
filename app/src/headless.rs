//! What `andamento` does where no window can be opened: the same job on the sample picture, written to files.

use std::path::Path;
use std::sync::Arc;

use andamento_model::boldness::Boldness;
use andamento_model::decode::Knobs;
use andamento_model::device::{self, DeviceChoice};
use andamento_model::frame::Extent;
use andamento_model::library::MODELS;
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::Picture;
use andamento_model::seam::Seam;
use andamento_model::{Error, OUR_MISTAKE, Result};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame};

use crate::cli::describe;
use crate::document::{Document, save_atomically};
use crate::progress::Line;

/// Where the results go.
const RESULT: &str = "andamento-sample.png";
const ANIMATION: &str = "andamento-sample.gif";

/// Side of the animation in pixels, and how long it shows a step and the result.
const SIDE: u32 = 256;
const STEP_MS: u32 = 80;
const RESULT_MS: u32 = 2500;

/// Repaints the sample picture's mask and says where the result is, and why there is no window.
///
/// # Errors
/// If the model fails or the files cannot be written.
pub fn run(choice: DeviceChoice, why: &str) -> Result<()> {
    eprintln!("No window could be opened: {why}");
    let chosen = device::choose(choice)?;
    eprintln!("{}", describe(&chosen));
    let mut model = MODELS[0].load(chosen)?;
    let document = Document::sample()?;
    let defaults = model.card.defaults;
    let knobs = Knobs {
        class: model.card.subject("alpine lake, dusk")?,
        guidance: defaults.guidance,
        sampling: defaults.sampling,
        seed: 20_411,
    };
    let abilities = model.network.spec().abilities;
    let (order, schedule) = (abilities.orders.native(), abilities.schedule(Some(defaults.steps)));
    let (picture, mask) = (document.picture.clone(), document.mask.clone());
    let request = Request {
        picture,
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::default(),
        order: order.into(),
        order_seed: knobs.seed,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule,
        knobs,
    };
    let mut frames = vec![document.picture.clone()];
    let mut line = Line::new();
    let mut painting = paint(&mut model, &request, &[])?;
    let mut of = 0;
    while let Some(event) = painting.next() {
        match event? {
            Event::Planned { plan, .. } => of = plan.visits.len(),
            Event::Step(step) => {
                line.update(&format!("step {} / {of}", step.index + 1));
                frames.push(painting.so_far()?);
            }
            Event::Done(picture) => frames.push(picture),
        }
    }
    line.end();
    let result = frames.last().unwrap_or(&document.picture);
    save_atomically(Path::new(RESULT), &result.png_bytes()?)?;
    save_atomically(Path::new(ANIMATION), &animation(&frames)?)?;
    println!("The repainted sample is in {RESULT}, an animation of the decoding in {ANIMATION}.");
    println!("For the editor, start `andamento` in a desktop session (on Linux, with DISPLAY or WAYLAND_DISPLAY set).");
    println!("Without one, see `andamento --help`: generate, inpaint and outpaint do the same on your own pictures.");
    Ok(())
}

/// The steps as a GIF that repeats.
fn animation(steps: &[Picture]) -> Result<Vec<u8>> {
    let failed = |error: image::ImageError| Error::file(ANIMATION, error, OUR_MISTAKE);
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
    encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
    for (index, picture) in steps.iter().enumerate() {
        let small = picture.image().resize(SIDE, SIDE, image::imageops::FilterType::Triangle).to_rgba8();
        let shown = if index + 1 == steps.len() { RESULT_MS } else { STEP_MS };
        let frame = Frame::from_parts(small, 0, 0, Delay::from_numer_denom_ms(shown, 1));
        encoder.encode_frame(frame).map_err(failed)?;
    }
    drop(encoder);
    Ok(bytes)
}
