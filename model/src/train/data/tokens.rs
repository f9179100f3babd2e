//! Pictures as tokens, made once and kept in a folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::Int;
use sha2::{Digest, Sha256};

use super::Data;
use super::pictures::{Pictures, Pixels, epoch_sequence};
use super::prefetch::{Prefetch, threads};
use crate::lattice::Token;
use crate::library::hex;
use crate::order::random;
use crate::train::below;
use crate::train::config::LoadedTokenizer;
use crate::train::run::make;
use crate::train::{Event, Progress, Run};
use crate::{Error, Result};

/// A batch: what a generator's loss is computed of.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// The class of each picture.
    pub classes: Vec<u32>,
    /// Token ids in the lattice's sequence, for VAR all scales from coarse to fine: `[batch, tokens]`, row-major.
    pub ids: Vec<Token>,
    /// Tokens of a picture.
    pub length: usize,
}

impl Tokens {
    /// Number of pictures.
    pub fn batch(&self) -> usize {
        self.classes.len()
    }

    /// The tokens of one picture.
    pub fn picture(&self, index: usize) -> &[Token] {
        &self.ids[index * self.length..(index + 1) * self.length]
    }

    /// The token ids on a device: `[batch, tokens]`.
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i32> = self.ids.iter().map(|id| *id as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.batch(), self.length]), device)
    }

    /// The classes on a device: `[batch]`.
    pub fn classes(&self, device: &Device) -> Tensor<1, Int> {
        let classes: Vec<i32> = self.classes.iter().map(|class| *class as i32).collect();
        Tensor::from_data(classes.as_slice(), device)
    }
}

/// All pictures of a run as tokens.
pub struct TokenSet {
    /// The hash of all that decides the tokens: 16 hexadecimal digits.
    key: String,
    /// Views of a picture, one after the other.
    views: usize,
    length: usize,
    ids: Vec<Token>,
    classes: Vec<u32>,
    /// The epoch whose sequence was used last.
    epoch: Option<(u64, Vec<u32>)>,
}

/// Stands in the file for every token of a picture that cannot be read.
const BROKEN: Token = Token::MAX;
/// Pictures whose views are tokenised at once.
const AT_ONCE: usize = 8;

impl TokenSet {
    /// The tokens of `pictures`: from the run's folder of tokens, as far as they are there, else made now; none if it was enough
    /// before all were made. They do not depend on the run's seed, so that runs can share them.
    ///
    /// # Errors
    /// If the tokenizer does not fit the data, no picture can be read, or the folder cannot be written.
    pub fn open(
        data: &Data,
        pictures: &Arc<Pictures>,
        tokenizer: &LoadedTokenizer,
        run: &mut Run,
    ) -> Result<Option<Self>> {
        let Some(count) = pictures.count() else {
            return Err(Error::control("[data]", "there is no end to the scenes", "Say how many: pictures = 4096"));
        };
        let key = Sha256::new()
            .chain_update(pictures.fingerprint())
            .chain_update(&tokenizer.sha256)
            .chain_update(tokenizer.card.config.to_string());
        let key = hex(&key.finalize()[..8]);
        make(&run.tokens)?;
        let path = run.tokens.join(format!("tokens-{key}.bin"));
        let unreadable = |error: std::io::Error| Error::file(&path, error, "Free some space and run the command again");
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&path).map_err(unreadable)?;
        // Another run that makes the same tokens makes them for this one too.
        file.lock().map_err(unreadable)?;
        let views = data.views();
        let mut ids = read(&mut file).map_err(unreadable)?;
        // An interrupted run may have left part of a batch; without a first picture the length is not known yet.
        let length = tokenizer.tokenizer.lattice(data.side as usize)?.len();
        let whole = ids.len() / (views * length);
        ids.truncate(whole * views * length);
        file.set_len(4 * ids.len() as u64).map_err(unreadable)?;
        if whole < count {
            let made = views_ahead(data, pictures, whole, count);
            let all = tokenise(made, whole..count, views * length, tokenizer, pictures, run, &mut |made| {
                let bytes: Vec<u8> = made.iter().flat_map(|id| id.to_le_bytes()).collect();
                ids.extend_from_slice(made);
                file.write_all(&bytes).map_err(unreadable)
            })?;
            file.sync_all().map_err(unreadable)?;
            if !all {
                return Ok(None);
            }
        }
        Self::sort(key, ids, views, length, pictures).map(Some)
    }

    /// Leaves out what could not be read, and finds the classes.
    fn sort(key: String, all: Vec<Token>, views: usize, length: usize, pictures: &Pictures) -> Result<Self> {
        let mut set = Self { key, views, length, ids: Vec::with_capacity(all.len()), classes: Vec::new(), epoch: None };
        for (index, ids) in all.chunks_exact(views * length).enumerate() {
            if ids[0] != BROKEN {
                set.ids.extend_from_slice(ids);
                set.classes.push(pictures.class(index) as u32);
            }
        }
        if set.classes.is_empty() {
            return Err(Error::control(
                "[data]",
                "none of the pictures can be read",
                "Use pictures that open in the editor",
            ));
        }
        Ok(set)
    }

    /// The hash of all that decides the tokens: 16 hexadecimal digits.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Number of pictures.
    pub fn pictures(&self) -> usize {
        self.classes.len()
    }

    /// Tokens of a picture.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The `n`-th batch of the training: each picture once per epoch, in one of its views.
    pub fn batch(&mut self, seed: u64, n: usize, batch: usize) -> Tokens {
        let count = self.pictures();
        let mut tokens = Tokens { classes: Vec::new(), ids: Vec::new(), length: self.length };
        for place in 0..batch {
            let number = (n * batch + place) as u64;
            let epoch = number / count as u64;
            if self.epoch.as_ref().is_none_or(|(of, _)| *of != epoch) {
                self.epoch = Some((epoch, epoch_sequence(seed, epoch, count)));
            }
            let Some((_, sequence)) = &self.epoch else { continue };
            let picture = sequence[(number % count as u64) as usize] as usize;
            let view = below(&mut random(seed ^ VIEWS, number), self.views);
            let row = (picture * self.views + view) * self.length;
            tokens.classes.push(self.classes[picture]);
            tokens.ids.extend_from_slice(&self.ids[row..row + self.length]);
        }
        tokens
    }
}

/// Keeps the choice of views apart from the sequence of pictures.
const VIEWS: u64 = 0x0076_6965_7773;

fn read(file: &mut File) -> std::io::Result<Vec<Token>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| Token::from_le_bytes(*bytes)).collect())
}

/// The views of picture after picture; none for one that cannot be read.
fn views_ahead(
    data: &Data,
    pictures: &Arc<Pictures>,
    first: usize,
    count: usize,
) -> Prefetch<Option<Vec<image::RgbImage>>> {
    let (data, pictures) = (data.clone(), pictures.clone());
    Prefetch::start(first, threads(), move |index| {
        if index >= count {
            return None;
        }
        let (picture, _) = pictures.read(index)?;
        Some(data.cut(picture, &mut random(VIEWS, index as u64)))
    })
}

/// Tokenises, some pictures at once; whether it came to the end.
fn tokenise(
    mut views: Prefetch<Option<Vec<image::RgbImage>>>,
    range: std::ops::Range<usize>,
    per_picture: usize,
    tokenizer: &LoadedTokenizer,
    pictures: &Pictures,
    run: &mut Run,
    keep: &mut dyn FnMut(&[Token]) -> Result<()>,
) -> Result<bool> {
    let steps = range.end;
    let numbers: Vec<usize> = range.collect();
    for chunk in numbers.chunks(AT_ONCE) {
        if (run.enough)() {
            return Ok(false);
        }
        let mut all = Vec::new();
        let mut readable = Vec::new();
        for _ in chunk {
            let cut = views.next().flatten();
            readable.push(cut.is_some());
            all.extend(cut.into_iter().flatten());
        }
        let side = all.first().map_or(0, |view| view.width() as usize);
        let device = tokenizer.tokenizer.device();
        let made = if all.is_empty() {
            Vec::new()
        } else {
            tokenizer.tokenizer.encode_batch(Pixels::of(&all, side).tensor(device))?
        };
        let mut made = made.chunks_exact(per_picture);
        let broken = vec![BROKEN; per_picture];
        let rows = readable.iter().map(|readable| if *readable { made.next() } else { None }.unwrap_or(&broken));
        keep(&rows.flatten().copied().collect::<Vec<_>>())?;
        pictures.take_broken().into_iter().for_each(|text| (run.report)(Event::Note(text)));
        let step = chunk.last().map_or(steps, |last| last + 1);
        let progress = Progress { task: "tokenising", step, steps, pictures: chunk.len(), figures: Vec::new() };
        (run.report)(Event::Step(&progress));
    }
    Ok(true)
}
