//! One token as a small picture: decoded with its nearest neighbours alone, which costs little of what the whole frame does.

use image::RgbImage;
use image::imageops::crop_imm;

use crate::lattice::{Lattice, Site, Token};
use crate::tokenizer::{Tokenizer, to_picture};
use crate::{Error, Result};

/// So many tokens on every side of the one in the middle are decoded with it,
const AROUND: usize = 2;
/// and so many of them are seen: the outermost ones lack neighbours of their own.
const SEEN: usize = 1;

/// The picture of a site with its neighbours, when its token is `code` and all others are `tokens`: three by three tokens, or
/// fewer at the edge.
///
/// # Errors
/// If the site is not on the lattice or the lattice has several scales, whose tokens have no place of their own; or the device
/// fails.
pub fn closeup(
    tokenizer: &dyn Tokenizer,
    lattice: &Lattice,
    tokens: &[Token],
    site: Site,
    code: Token,
) -> Result<RgbImage> {
    let nowhere = || Error::control("token", "it has no place of its own on the picture", "Look at another one");
    let ([grid], Some((_, row, col))) = (lattice.scales(), lattice.cell(site)) else { return Err(nowhere()) };
    let window = |at: usize, around: usize, of: usize| at.saturating_sub(around)..(at + around + 1).min(of);
    let (rows, cols) = (window(row, AROUND, grid.rows), window(col, AROUND, grid.cols));
    let place = |row: usize| cols.clone().map(move |col| row * grid.cols + col);
    let mut near: Vec<Token> = Vec::with_capacity(rows.len() * cols.len());
    for index in rows.clone().flat_map(place) {
        near.push(if index == site.index() { code } else { *tokens.get(index).ok_or_else(nowhere)? });
    }
    let picture = to_picture(tokenizer.decode(&Lattice::grid(rows.len(), cols.len()), &near)?)?;
    let stride = picture.width() / (cols.len() as u32).max(1);
    let (seen_rows, seen_cols) = (window(row, SEEN, grid.rows), window(col, SEEN, grid.cols));
    let pixels = |from: usize, start: usize| (from - start) as u32 * stride;
    let (left, top) = (pixels(seen_cols.start, cols.start), pixels(seen_rows.start, rows.start));
    let (wide, high) = (seen_cols.len() as u32 * stride, seen_rows.len() as u32 * stride);
    Ok(crop_imm(&picture, left, top, wide, high).to_image())
}
