//! EXIF: directories of tags in the TIFF manner (TIFF 6.0, section 2; CIPA DC-008).
//!
//! JPEG, PNG and WebP carry such a block as a whole, and it is handed on byte for byte. A TIFF has its tags among those of
//! the pixels: they are taken out of it here, and put back.

use std::io::{Read, Seek, SeekFrom};

/// The most bytes that one tag may have, and all tags together.
const MOST: usize = 8 << 20;
/// The most tags of one directory.
const TAGS: usize = 1000;

/// What a picture's main directory says about it, and not about how its pixels are stored: description, maker, model,
/// software, date, artist, copyright, rating, and Windows' own.
const DESCRIPTIVE: [u16; 14] =
    [0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F];
/// A TIFF's colour profile and XMP packet.
pub(super) const PROFILE: u16 = 34_675;
pub(super) const XMP: u16 = 700;
/// Where a directory points to the EXIF, GPS and interoperability directories.
pub(super) const EXIF: u16 = 0x8769;
pub(super) const GPS: u16 = 0x8825;
const INTEROPERABILITY: u16 = 0xA005;

/// One tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tag {
    /// Its number.
    pub(super) number: u16,
    /// The type of its values, as TIFF numbers them.
    pub(super) kind: u16,
    /// The values in the machine's byte order.
    pub(super) data: Vec<u8>,
}

impl Tag {
    /// The first value, if it is a whole number of 16 or 32 bits.
    fn number(&self) -> Option<u32> {
        match (self.kind, &self.data[..]) {
            (3, [a, b, ..]) => Some(u16::from_ne_bytes([*a, *b]).into()),
            (4, [a, b, c, d, ..]) => Some(u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => None,
        }
    }

    /// The first value, if it is a fraction.
    fn fraction(&self) -> Option<f64> {
        let [a, b, c, d, e, f, g, h] = *self.data.first_chunk()?;
        let (above, below) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        (self.kind == 5 && below > 0).then(|| f64::from(above) / f64::from(below))
    }
}

/// The directories of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Exif {
    /// The main directory, without what points elsewhere.
    pub(super) main: Vec<Tag>,
    /// The camera's.
    pub(super) camera: Vec<Tag>,
    /// The place.
    pub(super) place: Vec<Tag>,
    /// Whether further pictures follow the first.
    pub(super) continues: bool,
}

impl Exif {
    /// Reads the directories of a TIFF file or an EXIF block; none if it is neither.
    pub(super) fn read(file: &mut (impl Read + Seek)) -> Option<Self> {
        let mut reader = Reader { order: Order::Little, left: MOST, file };
        let start: [u8; 8] = reader.bytes(0, 8)?.try_into().ok()?;
        reader.order = match start[..4] {
            [b'I', b'I', 42, 0] => Order::Little,
            [b'M', b'M', 0, 42] => Order::Big,
            _ => return None,
        };
        let (mut main, next) = reader.directory(reader.order.u32([start[4], start[5], start[6], start[7]]))?;
        let mut of = |tags: &mut Vec<Tag>, pointer: u16| {
            let at = tags.iter().find(|tag| tag.number == pointer).and_then(Tag::number);
            tags.retain(|tag| tag.number != pointer);
            at.and_then(|at| reader.directory(at)).map(|(tags, _)| tags).unwrap_or_default()
        };
        let (mut camera, place) = (of(&mut main, EXIF), of(&mut main, GPS));
        // It says by which rules a file is named, which no longer holds.
        let _interoperability = of(&mut camera, INTEROPERABILITY);
        Some(Self { main, camera, place, continues: next != 0 })
    }

    /// What is about the picture, and not about how a TIFF stores it.
    pub(super) fn descriptive(mut self) -> Self {
        self.main.retain(|tag| DESCRIPTIVE.contains(&tag.number));
        self
    }

    /// Whether it describes pixels of two samples, of which the second is transparency.
    pub(super) fn is_grey_alpha(&self) -> bool {
        let number = |wanted| self.main.iter().find(|tag| tag.number == wanted).and_then(Tag::number);
        // Photometric interpretation: black is zero; samples per pixel; extra samples: alpha of either kind.
        number(0x0106) == Some(1) && number(0x0115) == Some(2) && matches!(number(0x0152), Some(1 | 2))
    }

    /// Pixels per inch, across and down.
    pub(super) fn resolution(&self) -> Option<[f64; 2]> {
        let tag = |number| self.main.iter().find(|tag| tag.number == number);
        let per_unit = match tag(0x0128).and_then(Tag::number) {
            None | Some(2) => 1.0,
            Some(3) => 2.54,
            Some(_) => return None,
        };
        let of = |number| Some(tag(number)?.fraction()? * per_unit).filter(|value| *value > 0.0);
        Some([of(0x011A)?, of(0x011B)?])
    }

    /// The directories as a block; empty if they are.
    pub(super) fn block(&self) -> Vec<u8> {
        if self.main.is_empty() && self.camera.is_empty() && self.place.is_empty() {
            return Vec::new();
        }
        let mut block = if cfg!(target_endian = "little") { b"II\x2a\0".to_vec() } else { b"MM\0\x2a".to_vec() };
        block.extend(8_u32.to_ne_bytes());
        let pointers = [(EXIF, &self.camera), (GPS, &self.place)];
        let mut main = self.main.clone();
        let mut at = 8 + size(&main) + 12 * pointers.iter().filter(|(_, tags)| !tags.is_empty()).count();
        for (number, tags) in pointers.iter().filter(|(_, tags)| !tags.is_empty()) {
            main.push(Tag { number: *number, kind: 4, data: (at as u32).to_ne_bytes().to_vec() });
            at += size(tags);
        }
        main.sort_by_key(|tag| tag.number);
        for tags in [&main, &self.camera, &self.place] {
            write(tags, &mut block);
        }
        block
    }

    /// Cuts off the small picture that a block may hold: it shows what was before.
    pub(super) fn forget_thumbnail(block: &mut [u8]) {
        let order = match block.get(..4) {
            Some([b'I', b'I', 42, 0]) => Order::Little,
            Some([b'M', b'M', 0, 42]) => Order::Big,
            _ => return,
        };
        let word = |block: &[u8], at: usize| Some(order.u32(*block.get(at..)?.first_chunk()?) as usize);
        let next = word(block, 4).and_then(|start| {
            let count: [u8; 2] = *block.get(start..)?.first_chunk()?;
            Some(start + 2 + 12 * usize::from(order.u16(count)))
        });
        if let Some(next) = next.and_then(|next| block.get_mut(next..next + 4)) {
            next.fill(0);
        }
    }
}

/// The bytes of one value of a type.
fn width(kind: u16) -> Option<usize> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 => 8,
        _ => return None,
    })
}

/// The bytes of one number in a value: fractions are two.
fn part(kind: u16) -> usize {
    match kind {
        5 | 10 => 4,
        kind => width(kind).unwrap_or(1),
    }
}

/// The bytes that a directory takes, values included.
fn size(tags: &[Tag]) -> usize {
    if tags.is_empty() { 0 } else { 2 + 12 * tags.len() + 4 + tags.iter().map(outside).sum::<usize>() }
}

/// The bytes of a tag's values that do not fit into the directory.
fn outside(tag: &Tag) -> usize {
    if tag.data.len() > 4 { tag.data.len().next_multiple_of(2) } else { 0 }
}

/// Appends a directory and its values to a block.
fn write(tags: &[Tag], block: &mut Vec<u8>) {
    if tags.is_empty() {
        return;
    }
    let mut at = block.len() + 2 + 12 * tags.len() + 4;
    let mut values = Vec::new();
    block.extend((tags.len() as u16).to_ne_bytes());
    for tag in tags {
        block.extend(tag.number.to_ne_bytes());
        block.extend(tag.kind.to_ne_bytes());
        block.extend(((tag.data.len() / width(tag.kind).unwrap_or(1)) as u32).to_ne_bytes());
        if outside(tag) == 0 {
            let mut inside = [0; 4];
            inside[..tag.data.len()].copy_from_slice(&tag.data);
            block.extend(inside);
        } else {
            block.extend((at as u32).to_ne_bytes());
            values.extend(&tag.data);
            values.resize(values.len().next_multiple_of(2), 0);
            at += outside(tag);
        }
    }
    block.extend([0; 4]);
    block.extend(values);
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn is_machines(self) -> bool {
        matches!(self, Self::Little) == cfg!(target_endian = "little")
    }
}

struct Reader<'a, F> {
    order: Order,
    /// So many bytes may still be read.
    left: usize,
    file: &'a mut F,
}

impl<F: Read + Seek> Reader<'_, F> {
    fn bytes(&mut self, at: u64, count: usize) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(count)?;
        self.file.seek(SeekFrom::Start(at)).ok()?;
        let mut bytes = Vec::new();
        self.file.by_ref().take(count as u64).read_to_end(&mut bytes).ok()?;
        (bytes.len() == count).then_some(bytes)
    }

    /// The tags of a directory, and where the next one is. Tags that cannot be read are left out.
    fn directory(&mut self, at: u32) -> Option<(Vec<Tag>, u32)> {
        let count = self.bytes(at.into(), 2)?;
        let count = usize::from(self.order.u16([count[0], count[1]])).min(TAGS);
        let entries = self.bytes(u64::from(at) + 2, 12 * count + 4)?;
        let (entries, next) = entries.split_at(12 * count);
        let tags = entries.chunks_exact(12).filter_map(|entry| self.tag(entry)).collect();
        Some((tags, self.order.u32([next[0], next[1], next[2], next[3]])))
    }

    fn tag(&mut self, entry: &[u8]) -> Option<Tag> {
        let (short, long) = (
            |at: usize| self.order.u16([entry[at], entry[at + 1]]),
            |at: usize| self.order.u32([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]),
        );
        let (number, kind, count, value) = (short(0), short(2), long(4), long(8));
        let length = width(kind)?.checked_mul(count as usize)?;
        let mut data = if length > 4 { self.bytes(value.into(), length)? } else { entry[8..8 + length].to_vec() };
        if !self.order.is_machines() {
            data.chunks_exact_mut(part(kind)).for_each(<[u8]>::reverse);
        }
        Some(Tag { number, kind, data })
    }
}
