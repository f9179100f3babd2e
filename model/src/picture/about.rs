//! What a file says beside its pixels: colour profile, EXIF, XMP, resolution. All of it is handed on to what is made from
//! them.

use super::exif::Exif;

/// Descriptive blocks as they stand in the file, and the resolution; empty where the file said nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// The ICC colour profile; without one, samples are sRGB.
    pub profile: Vec<u8>,
    /// The EXIF block, beginning with its TIFF header; its orientation is applied and set to 1.
    pub exif: Vec<u8>,
    /// The XMP packet, in UTF-8.
    pub xmp: Vec<u8>,
    /// Pixels per inch, across and down.
    pub resolution: Option<[f64; 2]>,
}

/// How a picture came to be, in the terms of the IPTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigitalSource {
    /// Made by a model as a whole.
    Generated,
    /// A picture of other origin, of which a model made a part.
    Composite,
}

impl DigitalSource {
    /// The code, as a URI of <https://cv.iptc.org/newscodes/digitalsourcetype/>.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Generated => "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            Self::Composite => "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
        }
    }
}

impl About {
    /// Takes note that the pixels stand upright now, as the picture is turned when it is opened.
    pub(super) fn turned_upright(&mut self) {
        let _applied = image::metadata::Orientation::remove_from_exif_chunk(&mut self.exif);
        Exif::forget_thumbnail(&mut self.exif);
        if let Ok(xmp) = std::str::from_utf8(&self.xmp) {
            self.xmp = upright(xmp).into_bytes();
        }
    }

    /// The XMP packet with a digital source type, which replaces the one that may be there.
    pub(super) fn xmp_of(&self, source: DigitalSource) -> Vec<u8> {
        let xmp = std::str::from_utf8(&self.xmp).unwrap_or_default();
        let property = format!(
            "<rdf:Description rdf:about=\"\" xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" \
             Iptc4xmpExt:DigitalSourceType=\"{}\"/>",
            source.uri()
        );
        let xmp = replaced(xmp, "Iptc4xmpExt:DigitalSourceType", source.uri()).unwrap_or_else(|| {
            match xmp.rfind("</rdf:RDF>") {
                Some(end) => format!("{}{property}{}", &xmp[..end], &xmp[end..]),
                None => format!(
                    "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
                     <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">{property}</rdf:RDF>\
                     </x:xmpmeta><?xpacket end=\"w\"?>"
                ),
            }
        });
        xmp.into_bytes()
    }
}

/// An XMP packet in which every orientation is 1.
fn upright(xmp: &str) -> String {
    replaced(xmp, "tiff:Orientation", "1").unwrap_or_else(|| xmp.into())
}

/// An XMP packet in which a simple property has another value, as attribute or as element; none if it has no such one.
fn replaced(xmp: &str, property: &str, value: &str) -> Option<String> {
    let mut new = String::with_capacity(xmp.len());
    let (mut rest, mut found) = (xmp, false);
    while let Some(at) = rest.find(property) {
        let (before, after) = rest.split_at(at + property.len());
        new.push_str(before);
        rest = after;
        let trimmed = after.trim_start();
        let (open, close) = match trimmed.as_bytes() {
            [b'=', ..] => match trimmed[1..].trim_start().as_bytes() {
                [quote @ (b'"' | b'\''), ..] => (*quote as char, *quote as char),
                _ => continue,
            },
            // A closing tag has nothing behind it.
            [b'>', ..] if !before[..at].ends_with('/') => ('>', '<'),
            _ => continue,
        };
        let Some(start) = after.find(open).map(|start| start + 1) else { continue };
        let Some(length) = after[start..].find(close) else { continue };
        new.push_str(&after[..start]);
        new.push_str(value);
        rest = &after[start + length..];
        found = true;
    }
    new.push_str(rest);
    found.then_some(new)
}
