//! Cutting pictures to the network's size.

use image::RgbImage;
use image::imageops::{self, FilterType};
use rand_chacha::ChaCha8Rng;

use super::{Augment, Data};
use crate::train::below;

/// Makes the shorter side `shorter` pixels long: halved by boxes while it is twice as long or longer, then bicubic
/// (`guided_diffusion`'s `center_crop_arr`, which RandAR and LlamaGen use).
pub fn shorter_side(mut picture: RgbImage, shorter: u32) -> RgbImage {
    while picture.width().min(picture.height()) >= 2 * shorter {
        picture = imageops::thumbnail(&picture, picture.width() / 2, picture.height() / 2);
    }
    let (width, height) = picture.dimensions();
    let scale = f64::from(shorter) / f64::from(width.min(height));
    let [width, height] = [width, height].map(|side| ((f64::from(side) * scale).round_ties_even() as u32).max(shorter));
    if (width, height) == picture.dimensions() {
        return picture;
    }
    imageops::resize(&picture, width, height, FilterType::CatmullRom)
}

/// The centre of a picture whose shorter side becomes `side`.
pub fn centre(picture: RgbImage, side: u32) -> RgbImage {
    let picture = shorter_side(picture, side);
    let (x, y) = ((picture.width() - side) / 2, (picture.height() - side) / 2);
    cut(&picture, x, y, side)
}

/// The four corners and the centre of a square picture, then their mirror images (`torchvision`'s `TenCrop`).
pub fn ten(picture: &RgbImage, side: u32) -> Vec<RgbImage> {
    let last = picture.width().min(picture.height()) - side;
    let middle = (f64::from(last) / 2.0).round_ties_even() as u32;
    let places = [(0, 0), (last, 0), (0, last), (last, last), (middle, middle)];
    let straight: Vec<_> = places.iter().map(|(x, y)| cut(picture, *x, *y, side)).collect();
    let mirrored: Vec<_> = straight.iter().map(imageops::flip_horizontal).collect();
    [straight, mirrored].concat()
}

/// A random place, at a size drawn between the least and the largest of `sizes` times `side` (LlamaGen's
/// `random_crop_arr`; VAR has one size).
pub fn anywhere(picture: RgbImage, side: u32, sizes: &[f64], mirror: bool, random: &mut ChaCha8Rng) -> RgbImage {
    let pixels = |size: f64| (f64::from(side) * size).ceil() as usize;
    let least = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    let shorter = pixels(least) + below(random, pixels(largest) - pixels(least) + 1);
    let picture = shorter_side(picture, shorter as u32);
    let [x, y] = [picture.width(), picture.height()].map(|long| below(random, (long - side + 1) as usize) as u32);
    let picture = cut(&picture, x, y, side);
    if mirror && below(random, 2) == 1 { imageops::flip_horizontal(&picture) } else { picture }
}

fn cut(picture: &RgbImage, x: u32, y: u32, side: u32) -> RgbImage {
    imageops::crop_imm(picture, x, y, side, side).to_image()
}

impl Data {
    /// How many views [`Data::cut`] makes of a picture.
    pub fn views(&self) -> usize {
        match self.augment {
            Augment::None => 1,
            Augment::Flip => 2,
            Augment::TenCrop => 10 * self.sizes().len(),
            Augment::RandomCrop => self.views,
        }
    }

    /// Every view of a picture that is tokenised.
    pub fn cut(&self, picture: RgbImage, random: &mut ChaCha8Rng) -> Vec<RgbImage> {
        let (side, sizes) = (self.side, self.sizes());
        match self.augment {
            Augment::None => vec![centre(picture, side)],
            Augment::Flip => {
                let straight = centre(picture, side);
                let mirrored = imageops::flip_horizontal(&straight);
                vec![straight, mirrored]
            }
            // `int(1.1 * 256)`, as published.
            Augment::TenCrop => sizes
                .iter()
                .flat_map(|size| ten(&centre(picture.clone(), (f64::from(side) * size) as u32), side))
                .collect(),
            Augment::RandomCrop => {
                (0..self.views).map(|_| anywhere(picture.clone(), side, &sizes, self.mirror, random)).collect()
            }
        }
    }

    /// One view of a picture, drawn: what a tokenizer is trained on.
    pub fn draw(&self, picture: RgbImage, random: &mut ChaCha8Rng) -> RgbImage {
        if self.augment == Augment::RandomCrop {
            return anywhere(picture, self.side, &self.sizes(), self.mirror, random);
        }
        let mut views = self.cut(picture, random);
        let picked = below(random, views.len());
        views.swap_remove(picked)
    }
}
