//! Colour management: models see and make sRGB, whatever a picture's own colours are. Samples that nobody paints are never
//! converted.

use std::sync::Arc;

use moxcms::{Chromaticity, ColorPrimaries, ColorProfile, DataColorSpace, Layout, ToneReprCurve, TransformF32Executor};
use moxcms::{TransformOptions, XyY};

/// Two profiles whose colours differ by less than half an 8-bit level are one.
const SAME: f32 = 0.5 / 255.0;

/// Rec. 709 luma, of encoded values.
pub(crate) fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// The ways from a picture's colours to sRGB and back.
pub(super) struct Colour {
    grey: bool,
    there: Arc<TransformF32Executor>,
    back: Arc<TransformF32Executor>,
}

impl Colour {
    /// Of an ICC profile; none if its colours are those of sRGB.
    ///
    /// # Errors
    /// The reason why the profile cannot be used.
    pub(super) fn of(profile: &[u8]) -> Result<Option<Self>, String> {
        let failed = |error: moxcms::CmsError| error.to_string();
        let own = ColorProfile::new_from_slice(profile).map_err(failed)?;
        let mut srgb = ColorProfile::new_srgb();
        let grey = own.color_space == DataColorSpace::Gray;
        let layout = if grey { Layout::Gray } else { Layout::Rgb };
        if grey {
            // What grey means where nothing is said: the curve of sRGB.
            let curve = srgb.red_trc.clone();
            srgb = ColorProfile::new_gray_with_gamma(1.0);
            srgb.gray_trc = curve;
        }
        let options = TransformOptions::default();
        let there = own.create_transform_f32(layout, &srgb, layout, options).map_err(failed)?;
        let back = srgb.create_transform_f32(layout, &own, layout, options).map_err(failed)?;
        let colour = Self { grey, there, back };
        let mut steps = [0, 1, 2, 3, 4].map(|step| step as f32 / 4.0 * 255.0);
        steps[0] = 4.0;
        let all = steps.iter().flat_map(|red| steps.iter().map(move |green| (*red, *green)));
        let all: Vec<[f32; 3]> =
            all.flat_map(|(red, green)| steps.iter().map(move |blue| [red, green, *blue])).collect();
        let all: Vec<[f32; 3]> = if grey { all.iter().map(|[level, ..]| [*level; 3]).collect() } else { all };
        let mut seen = all.clone();
        colour.to_srgb(&mut seen);
        let differs = |(a, b): (&f32, &f32)| (a - b).abs() > SAME * 255.0;
        let other = all.as_flattened().iter().zip(seen.as_flattened()).any(differs);
        Ok(other.then_some(colour))
    }

    /// Levels of the picture become levels of sRGB.
    pub(super) fn to_srgb<const N: usize>(&self, pixels: &mut [[f32; N]]) {
        self.convert(&self.there, pixels);
    }

    /// Levels of sRGB become levels of the picture; for a grey one all three are the same.
    pub(super) fn take_srgb(&self, pixels: &mut [[f32; 3]]) {
        if self.grey {
            pixels.iter_mut().for_each(|pixel| *pixel = [luma(*pixel); 3]);
        }
        self.convert(&self.back, pixels);
    }

    fn convert<const N: usize>(&self, way: &Arc<TransformF32Executor>, pixels: &mut [[f32; N]]) {
        let channels = if self.grey { 1 } else { 3 };
        let parts = pixels.iter().flat_map(|pixel| pixel[..channels].iter().map(|level| level / 255.0));
        let from: Vec<f32> = parts.collect();
        let mut to = vec![0.0; from.len()];
        // It fails for lengths that do not match alone, which these do.
        if way.transform(&from, &mut to).is_err() {
            return;
        }
        for (pixel, made) in pixels.iter_mut().zip(to.chunks_exact(channels)) {
            let made = made.iter().map(|level| if level.is_finite() { level.clamp(0.0, 1.0) * 255.0 } else { 0.0 });
            pixel[..3].iter_mut().zip(made.cycle()).for_each(|(level, made)| *level = made);
        }
    }
}

/// A profile for a picture that gives only the power of its curve, and the chromaticities of white, red, green and blue
/// where they are not those of sRGB: what a PNG says in `gAMA` and `cHRM`. Empty if that is sRGB.
pub(super) fn profile_of(gamma: f32, chromaticities: Option<[(f32, f32); 4]>, grey: bool) -> Vec<u8> {
    /// A viewer's gamma for the usual encoding, which sRGB stands for.
    const USUAL: f32 = 2.2;
    const SRGB: [(f32, f32); 4] = [(0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)];
    let close = |a: f32, b: f32, by: f32| (a - b).abs() < by;
    let points = chromaticities.filter(|points| points.iter().all(|(x, y)| x.is_finite() && *y > 0.0));
    let points = points.unwrap_or(SRGB);
    let same_points = points.iter().zip(SRGB).all(|(a, b)| close(a.0, b.0, 0.002) && close(a.1, b.1, 0.002));
    let power = 1.0 / gamma;
    if !(0.1..=10.0).contains(&power) || close(power, USUAL, 0.02) && (same_points || grey) {
        return Vec::new();
    }
    let mut profile = if grey { ColorProfile::new_gray_with_gamma(power) } else { ColorProfile::new_srgb() };
    if !grey {
        let curve = ToneReprCurve::Parametric(vec![power]);
        (profile.red_trc, profile.green_trc, profile.blue_trc) =
            (Some(curve.clone()), Some(curve.clone()), Some(curve));
        profile.cicp = None;
        profile.description = None;
        if !same_points {
            let [white, red, green, blue] = points.map(|(x, y)| Chromaticity::new(x, y));
            let white = XyY { x: white.x.into(), y: white.y.into(), yb: 1.0 };
            profile.update_rgb_colorimetry(white, ColorPrimaries { red, green, blue });
        }
    }
    profile.encode().unwrap_or_default()
}
