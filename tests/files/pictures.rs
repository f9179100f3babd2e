//! Picture files: what they say survives, their colours reach the model as sRGB, and small ones do not unfold to gigabytes.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use andamento_model::composite::composite;
use andamento_model::frame::Frame;
use andamento_model::picture::{About, Kind, Mask, Notes, Picture, Rect};
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::{JpegEncoder, PixelDensity};
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ColorType, DynamicImage, ImageBuffer, ImageEncoder, ImageFormat, Rgb, RgbImage};
use moxcms::ColorProfile;

use crate::folder::Folder;

/// A picture with structure in every channel and at both ends of its depth.
fn scene(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgba16(ImageBuffer::from_fn(width, height, |x, y| {
        let at = |value: u32, of: u32| (value * 65_535 / (of - 1).max(1)) as u16;
        image::Rgba([at(x, width), at(y, height), at((x * y) % 17, 17), 30_000 + at(x, width) / 2])
    }))
}

/// An EXIF block as a camera writes it: maker, orientation, exposure time, place. Little endian.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II\x2a\0\x08\0\0\0".to_vec();
    let entry = |number: u16, kind: u16, count: u32, value: u32| {
        [&number.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let (main, camera) = (8 + 2 + 4 * 12 + 4, 2 + 2 * 12 + 4);
    let (maker, at_camera) = (main, main + MAKER.len() as u32);
    let at_place = at_camera + camera + 8;
    block.extend(4_u16.to_le_bytes());
    block.extend(entry(0x010F, 2, MAKER.len() as u32, maker));
    block.extend(entry(0x0112, 3, 1, orientation.into()));
    block.extend(entry(0x8769, 4, 1, at_camera));
    block.extend(entry(0x8825, 4, 1, at_place));
    block.extend([0; 4]);
    block.extend(MAKER);
    block.extend(2_u16.to_le_bytes());
    block.extend(entry(0x829A, 5, 1, at_camera + camera));
    block.extend(entry(0x8827, 3, 1, 400));
    block.extend([0; 4]);
    block.extend(EXPOSURE);
    block.extend(1_u16.to_le_bytes());
    block.extend(entry(0x0001, 2, 2, u32::from_le_bytes([b'S', 0, 0, 0])));
    block.extend([0; 4]);
    block
}

/// 1/125 s.
const EXPOSURE: [u8; 8] = [1, 0, 0, 0, 125, 0, 0, 0];
const MAKER: &[u8; 10] = b"Luce 1985\0";
const XMP: &str = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
                   <rdf:Description rdf:about=\"\" xmlns:tiff=\"http://ns.adobe.com/tiff/1.0/\" tiff:Orientation=\"6\" \
                   xmlns:dc=\"http://purl.org/dc/elements/1.1/\" dc:title=\"Mosaïque\"/></rdf:RDF></x:xmpmeta>";

fn adobe() -> Vec<u8> {
    ColorProfile::new_adobe_rgb().encode().expect("a profile")
}

fn grey_profile() -> Vec<u8> {
    ColorProfile::new_gray_with_gamma(1.8).encode().expect("a profile")
}

/// A PNG with all that one can say.
fn png(image: &DynamicImage, change: impl FnOnce(&mut png::Info<'static>)) -> Vec<u8> {
    let mut info = png::Info::with_size(image.width(), image.height());
    let colour = image.color();
    info.bit_depth =
        if colour.bytes_per_pixel() > colour.channel_count() { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
    info.color_type =
        [png::ColorType::Grayscale, png::ColorType::GrayscaleAlpha, png::ColorType::Rgb, png::ColorType::Rgba]
            [usize::from(colour.channel_count()) - 1];
    change(&mut info);
    let wide = info.bit_depth == png::BitDepth::Sixteen;
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::with_info(&mut bytes, info).expect("a header").write_header().expect("memory");
    let data: Vec<u8> = if wide {
        let samples = image.as_bytes().chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]));
        samples.flat_map(u16::to_be_bytes).collect()
    } else {
        image.as_bytes().to_vec()
    };
    writer.write_image_data(&data).expect("memory");
    drop(writer);
    bytes
}

/// A JPEG with what is written into it.
fn jpeg(image: &DynamicImage, profile: Vec<u8>, exif: Vec<u8>, xmp: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_pixel_density(PixelDensity::dpi(300));
    if !profile.is_empty() {
        encoder.set_icc_profile(profile).expect("JPEG has profiles");
    }
    if !exif.is_empty() {
        encoder.set_exif_metadata(exif).expect("JPEG has EXIF");
    }
    image.write_with_encoder(encoder).expect("memory");
    if !xmp.is_empty() {
        let body = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
        let segment = [&[0xFF, 0xE1][..], &((body.len() + 2) as u16).to_be_bytes(), &body].concat();
        let at = 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        bytes.splice(at..at, segment);
    }
    bytes
}

fn by_image(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("the format is built in");
    bytes.into_inner()
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("files/fixtures").join(name)).expect(name)
}

/// A file, and what must be known of it once it is open.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    size: (u32, u32),
    kind: ColorType,
    profile: Vec<u8>,
    has_exif: bool,
    has_xmp: bool,
    resolution: Option<f64>,
    remark: &'static str,
}

impl Case {
    fn new(name: &'static str, bytes: Vec<u8>, size: (u32, u32), kind: ColorType) -> Self {
        let (profile, resolution) = (Vec::new(), None);
        Self { name, bytes, size, kind, profile, has_exif: false, has_xmp: false, resolution, remark: "" }
    }

    fn with(self, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = self;
        change(&mut case);
        case
    }
}

fn cases() -> Vec<Case> {
    let scene = scene(48, 32);
    let (rgb, grey) = (DynamicImage::ImageRgb8(scene.to_rgb8()), DynamicImage::ImageLuma8(scene.to_luma8()));
    let (rgba, deep) = (DynamicImage::ImageRgba8(scene.to_rgba8()), DynamicImage::ImageRgb16(scene.to_rgb16()));
    let itxt = |info: &mut png::Info<'static>| {
        info.utf8_text.push(png::text_metadata::ITXtChunk::new("XML:com.adobe.xmp", XMP));
    };
    let dpi = |info: &mut png::Info<'static>| {
        info.pixel_dims = Some(png::PixelDimensions { xppu: 7874, yppu: 7874, unit: png::Unit::Meter });
    };
    let palette = {
        let mut info = png::Info::with_size(8, 4);
        info.color_type = png::ColorType::Indexed;
        info.palette = Some(vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9].into());
        info.trns = Some(vec![255, 128, 0, 255].into());
        let mut bytes = Vec::new();
        let mut writer = png::Encoder::with_info(&mut bytes, info).expect("a header").write_header().expect("memory");
        writer.write_image_data(&(0..32).map(|index| index % 4).collect::<Vec<u8>>()).expect("memory");
        drop(writer);
        bytes
    };
    let one_bit = {
        let mut info = png::Info::with_size(16, 2);
        (info.color_type, info.bit_depth) = (png::ColorType::Grayscale, png::BitDepth::One);
        let mut bytes = Vec::new();
        let mut writer = png::Encoder::with_info(&mut bytes, info).expect("a header").write_header().expect("memory");
        writer.write_image_data(&[0b1010_1010, 0b1111_0000, 0, 255]).expect("memory");
        drop(writer);
        bytes
    };
    let animated_png = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 48, 32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_animated(2, 0).expect("two pictures");
        let mut writer = encoder.write_header().expect("memory");
        (0..2).for_each(|_| writer.write_image_data(rgb.as_bytes()).expect("memory"));
        drop(writer);
        bytes
    };
    let webp = {
        let mut bytes = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut bytes);
        encoder.set_icc_profile(adobe()).expect("WebP has profiles");
        encoder.set_exif_metadata(exif(8)).expect("WebP has EXIF");
        encoder.encode(rgba.as_bytes(), 48, 32, image::ExtendedColorType::Rgba8).expect("memory");
        bytes
    };
    let grey_tiff = {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes);
        encoder.set_icc_profile(grey_profile()).expect("TIFF has profiles");
        DynamicImage::ImageLuma16(scene.to_luma16()).write_with_encoder(encoder).expect("memory");
        bytes.into_inner()
    };
    let gif = |pictures: usize| {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        (0..pictures).for_each(|_| {
            encoder.encode_frame(image::Frame::new(rgba.to_rgba8())).expect("memory");
        });
        drop(encoder);
        bytes
    };
    let float = DynamicImage::ImageRgb32F(scene.to_rgb32f());
    let linear = |info: &mut png::Info<'static>| info.source_gamma = Some(png::ScaledFloat::new(1.0));
    let usual = |info: &mut png::Info<'static>| info.source_gamma = Some(png::ScaledFloat::new(0.45455));
    vec![
        Case::new("a photograph on its side", jpeg(&rgb, adobe(), exif(6), XMP), (32, 48), ColorType::Rgb8).with(
            |case| {
                (case.profile, case.has_exif, case.has_xmp, case.resolution) = (adobe(), true, true, Some(300.0));
            },
        ),
        Case::new("a grey photograph", jpeg(&grey, grey_profile(), Vec::new(), ""), (48, 32), ColorType::L8)
            .with(|case| (case.profile, case.resolution) = (grey_profile(), Some(300.0))),
        Case::new("a plain photograph", jpeg(&rgb, Vec::new(), Vec::new(), ""), (48, 32), ColorType::Rgb8)
            .with(|case| case.resolution = Some(300.0)),
        Case::new("a progressive JPEG", fixture("progressive.jpg"), (48, 32), ColorType::Rgb8)
            .with(|case| case.resolution = Some(240.0)),
        Case::new("a JPEG for print", fixture("cmyk.jpg"), (24, 16), ColorType::Rgb8).with(|case| case.remark = "CMYK"),
        Case::new(
            "a deep PNG with everything",
            png(&scene, |info| {
                info.icc_profile = Some(adobe().into());
                info.exif_metadata = Some(exif(3).into());
                dpi(info);
                itxt(info);
            }),
            (48, 32),
            ColorType::Rgba16,
        )
        .with(|case| {
            (case.profile, case.has_exif, case.has_xmp, case.resolution) = (adobe(), true, true, Some(200.0));
        }),
        Case::new("a linear deep PNG", png(&deep, linear), (48, 32), ColorType::Rgb16)
            .with(|case| case.remark = "linear"),
        Case::new("a PNG of the usual gamma", png(&grey, usual), (48, 32), ColorType::L8),
        Case::new(
            "a grey PNG with alpha",
            png(&DynamicImage::ImageLumaA16(scene.to_luma_alpha16()), dpi),
            (48, 32),
            ColorType::La16,
        )
        .with(|case| case.resolution = Some(200.0)),
        Case::new("a PNG of few colours", palette, (8, 4), ColorType::Rgba8),
        Case::new("a PNG of one bit", one_bit, (16, 2), ColorType::L8),
        Case::new("an interlaced PNG", fixture("interlaced.png"), (33, 21), ColorType::Rgba16),
        Case::new("an animated PNG", animated_png, (48, 32), ColorType::Rgb8).with(|case| case.remark = "animated"),
        Case::new("a WebP on its side", webp, (32, 48), ColorType::Rgba8)
            .with(|case| (case.profile, case.has_exif) = (adobe(), true)),
        Case::new("a lossy WebP", fixture("lossy.webp"), (20, 12), ColorType::Rgba8),
        Case::new("an animated WebP", fixture("animated.webp"), (16, 16), ColorType::Rgb8)
            .with(|case| case.remark = "animated"),
        Case::new("a deep grey TIFF", grey_tiff, (48, 32), ColorType::L16).with(|case| case.profile = grey_profile()),
        Case::new("a packed TIFF", fixture("lzw.tif"), (20, 12), ColorType::Rgb16),
        Case::new("a floating TIFF", by_image(&float, ImageFormat::Tiff), (48, 32), ColorType::Rgb16)
            .with(|case| case.remark = "floating point"),
        Case::new("a BMP", by_image(&rgb, ImageFormat::Bmp), (48, 32), ColorType::Rgb8),
        Case::new("a BMP with alpha", by_image(&rgba, ImageFormat::Bmp), (48, 32), ColorType::Rgba8),
        Case::new("an animated GIF", gif(3), (48, 32), ColorType::Rgba8).with(|case| case.remark = "animated"),
        Case::new("a GIF", gif(1), (48, 32), ColorType::Rgba8),
    ]
}

/// An edit in the middle; the mask it was made with.
fn edited(picture: &Picture) -> (Picture, Mask) {
    let mut mask = Mask::new(picture.width(), picture.height());
    mask.fill_rect(Rect::new(1, 1, picture.width() / 2, picture.height() / 2), 255);
    let frame = Frame::around(mask.bounds().expect("it is not empty"), picture.width(), picture.height(), 16);
    (composite(picture, &mask, &frame, &RgbImage::from_pixel(16, 16, Rgb([200, 90, 20]))), mask)
}

#[track_caller]
fn assert_same_outside(a: &Picture, b: &Picture, mask: &Mask, what: &str) {
    assert_eq!((a.rect(), a.image().color()), (b.rect(), b.image().color()), "{what}");
    let size = usize::from(a.image().color().bytes_per_pixel());
    let pairs = a.image().as_bytes().chunks_exact(size).zip(b.image().as_bytes().chunks_exact(size));
    let same = pairs.zip(mask.bytes().iter()).all(|((a, b), mask)| *mask > 0 || a == b);
    assert!(same, "{what}: a sample outside of the mask changed");
}

/// What a file says is still there in every kind of file that has room for it, and no sample outside of the mask has changed.
#[test]
fn twenty_files_of_the_real_world_keep_what_they_say() {
    let folder = Folder::new("world");
    let cases = cases();
    assert!(cases.len() >= 20);
    for case in &cases {
        let what = case.name;
        let opened =
            Picture::read(folder.write("source", &case.bytes)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let picture = opened.picture;
        assert_eq!((picture.width(), picture.height()), case.size, "{what}");
        assert_eq!(picture.image().color(), case.kind, "{what}");
        let about = picture.about();
        match case.remark {
            // A profile takes the place of the bare number.
            "linear" => assert!(!about.profile.is_empty() && opened.remarks.is_empty(), "{what}"),
            "" => assert!(opened.remarks.is_empty() && about.profile == case.profile, "{what}: {:?}", opened.remarks),
            remark => assert!(opened.remarks.iter().any(|told| told.contains(remark)), "{what}: {:?}", opened.remarks),
        }
        assert_eq!(!about.exif.is_empty(), case.has_exif, "{what}");
        assert!(!case.has_exif || about.exif == exif(1), "{what}: the block is as it was, but upright");
        assert_eq!(!about.xmp.is_empty(), case.has_xmp, "{what}");
        let xmp = String::from_utf8_lossy(&about.xmp);
        assert!(!case.has_xmp || xmp == XMP.replace("Orientation=\"6\"", "Orientation=\"1\""), "{what}: {xmp}");
        let close = |resolution: Option<[f64; 2]>| match (resolution, case.resolution) {
            (Some([across, down]), Some(wanted)) => (across - wanted).abs() < 0.5 && (down - wanted).abs() < 0.5,
            (None, None) => true,
            _ => false,
        };
        assert!(close(about.resolution), "{what}: {:?}", about.resolution);

        let (result, mask) = edited(&picture);
        assert!(result.about() == about, "{what}");
        assert_same_outside(&picture, &result, &mask, what);
        assert!(result.image().as_bytes() != picture.image().as_bytes(), "{what}: the edit is there");
        for name in ["a.png", "a.tif", "a.webp", "a.jpg"] {
            let what = format!("{what}, as {name}");
            let path = folder.0.join(name);
            let kind = Kind::of(&path, 95).expect("a kind of file");
            let mut bytes = Cursor::new(Vec::new());
            result.write(&mut bytes, kind, &Notes::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let again =
                Picture::read(folder.write(name, bytes.get_ref())).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (again, remarks) = (again.picture, again.remarks);
            assert!(remarks.is_empty(), "{what}: {remarks:?}");
            if matches!(kind, Kind::Png | Kind::Tiff) {
                assert!(again.image().as_bytes() == result.image().as_bytes(), "{what}: every sample is the same");
                assert_eq!(again.image().color(), result.image().color(), "{what}");
            }
            assert_eq!((again.width(), again.height()), case.size, "{what}");
            // WebP knows no grey, and is in sRGB then.
            let grey_webp = kind == Kind::WebP && !case.kind.has_color();
            let profile = if grey_webp { Vec::new() } else { about.profile.clone() };
            let (kept, wanted) = (again.about(), &About { profile, ..about.clone() });
            assert_eq!((kept.profile.len(), kept.xmp.len()), (wanted.profile.len(), wanted.xmp.len()), "{what}");
            assert!(kept.profile == wanted.profile && kept.xmp == wanted.xmp, "{what}");
            if kind == Kind::Tiff {
                // Here the tags are among those of the pixels, and come back in another sequence.
                let has = |bytes: &[u8]| kept.exif.windows(bytes.len()).any(|window| window == bytes);
                assert!(!case.has_exif || has(MAKER) && has(&EXPOSURE), "{what}");
            } else {
                assert!(kept.exif == wanted.exif, "{what}");
            }
            // WebP has no room for it but in EXIF.
            assert!(kind == Kind::WebP || close(kept.resolution), "{what}: {:?}", kept.resolution);
            // Without metadata only colours and size stay.
            let mut bytes = Cursor::new(Vec::new());
            result.write(&mut bytes, kind, &Notes { none: true, ..Notes::default() }).expect("memory");
            let bare = Picture::open(folder.write(name, bytes.get_ref())).expect("it was just written");
            assert!(bare.about().exif.is_empty() && bare.about().xmp.is_empty(), "{what}");
            assert!(bare.about().profile == wanted.profile, "{what}");
        }
    }
}

#[test]
fn models_see_srgb_and_what_they_paint_takes_the_pictures_own_colours() {
    let folder = Folder::new("colour");
    let whole = Frame { rect: Rect::new(0, 0, 16, 16), size: [16; 2] };
    let nothing = Mask::new(16, 16);
    // sRGB's pure red in Display P3 is (234, 51, 35), as the colour pickers of Apple's systems show it.
    let p3 = |level: u16| {
        let profile = ColorProfile::new_display_p3().encode().expect("a profile");
        let [red, green, blue] = [234, 51, 35].map(|part: u16| part * level);
        let image = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(16, 16, Rgb([red, green, blue])));
        let file = folder.write("p3.png", png(&image, |info| info.icc_profile = Some(profile.into())));
        Picture::open(file).expect("a PNG")
    };
    let picture = p3(257);
    for pixel in whole.view(&picture, &nothing).pixels() {
        let [red, green, blue] = pixel.0;
        assert!(red >= 253 && green <= 4 && blue <= 4, "{pixel:?}");
    }
    let mut mask = Mask::new(16, 16);
    mask.fill_rect(Rect::new(0, 0, 8, 16), 255);
    let red = RgbImage::from_pixel(16, 16, Rgb([255, 0, 0]));
    let painted = composite(&p3(100), &mask, &whole, &red);
    let level = |x: u32, channel: usize| painted.image().to_rgb16().get_pixel(x, 3).0[channel];
    for (channel, wanted) in [234_u16, 51, 35].into_iter().enumerate() {
        assert!((level(2, channel) / 257).abs_diff(wanted) <= 1, "{channel}: {}", level(2, channel));
        assert_eq!(level(12, channel), wanted * 100, "untouched samples keep their value exactly");
    }
    assert!(painted.matched(&red).get_pixel(0, 0).0[1].abs_diff(51) <= 1, "previews are shown in them");

    // Linear grey: a fifth of the light is nearly half of the scale.
    let profile = ColorProfile::new_gray_with_gamma(1.0).encode().expect("a profile");
    let image = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(16, 16, image::Luma([55])));
    let bytes = png(&image, |info| info.icc_profile = Some(profile.into()));
    let grey = Picture::open(folder.write("grey.png", &bytes)).expect("a PNG");
    let seen = whole.view(&grey, &nothing).get_pixel(5, 5).0;
    assert!(seen.iter().all(|level| level.abs_diff(128) <= 1), "{seen:?}");
    let painted = composite(&grey, &mask, &whole, &RgbImage::from_pixel(16, 16, Rgb([128; 3])));
    assert!(painted.image().to_luma8().get_pixel(2, 2).0[0].abs_diff(55) <= 1);
    // A PNG that only says how its curve runs means the same.
    let bytes = png(&image, |info| info.source_gamma = Some(png::ScaledFloat::new(1.0)));
    let linear = Picture::open(folder.write("linear.png", &bytes)).expect("a PNG");
    assert_eq!(whole.view(&linear, &nothing).get_pixel(5, 5).0, seen);

    // sRGB by another name is seen as it is, to the last bit.
    let profile = ColorProfile::new_srgb().encode().expect("a profile");
    let plain = DynamicImage::ImageRgb8(scene(16, 16).to_rgb8());
    let bytes = png(&plain, |info| info.icc_profile = Some(profile.into()));
    let srgb = Picture::open(folder.write("srgb.png", &bytes)).expect("a PNG");
    assert_eq!(whole.view(&srgb, &nothing), plain.to_rgb8());
    // A profile that is none costs the colours, is told, and is handed on.
    let mut broken = adobe();
    broken.truncate(200);
    let bytes = png(&plain, |info| info.icc_profile = Some(broken.clone().into()));
    let opened = Picture::read(folder.write("broken.png", &bytes)).expect("a PNG");
    assert!(opened.remarks.iter().any(|remark| remark.contains("profile is damaged")), "{:?}", opened.remarks);
    assert!(opened.picture.about().profile == broken);
}

/// The start of files that claim far more than they hold: every size is named, and nothing of it is allocated.
#[test]
fn a_small_file_that_unfolds_to_gigabytes_is_refused_with_its_size() {
    let folder = Folder::new("bombs");
    let start = Instant::now();
    let refused = |name: &str, bytes: &[u8], size: &str| {
        let error = Picture::open(folder.write(name, bytes)).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(size), "{error}");
    };
    let tag = |number: u16, kind: u16, value: u32| {
        [&number.to_le_bytes()[..], &kind.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    // 20 000 × 9 000 samples in one strip of a few bytes, packed by DEFLATE.
    let tags = [
        tag(256, 4, 20_000),
        tag(257, 4, 9_000),
        tag(258, 3, 16),
        tag(259, 3, 8),
        tag(262, 3, 1),
        tag(273, 4, 200),
        tag(277, 3, 1),
        tag(278, 4, 9_000),
        tag(279, 4, 40),
    ];
    let mut tiff = b"II\x2a\0\x08\0\0\0".to_vec();
    tiff.extend((tags.len() as u16).to_le_bytes());
    tiff.extend(tags.concat());
    tiff.resize(1_000, 0);
    // 360 MB are within what any file may unfold to; with three more channels they are not.
    let (mut deep, at) = (tiff.clone(), 10 + 6 * 12);
    deep[at + 8] = 4;
    deep[10 + 4 * 12 + 8] = 2;
    refused("strip.tif", &deep, "20000 × 9000");
    let mut huge = tiff;
    huge[18..22].copy_from_slice(&200_000_u32.to_le_bytes());
    refused("huge.tif", &huge, "200000 × 9000");
    // Lossless WebP: 14 bits each for width and height, less one, then alpha.
    let bits: u32 = 16_382 | (11_999 << 14) | (1 << 28);
    let data = [&[0x2F][..], &bits.to_le_bytes(), &[0; 27]].concat();
    let parts =
        [&b"RIFF"[..], &(12 + data.len() as u32).to_le_bytes(), b"WEBPVP8L", &(data.len() as u32).to_le_bytes()];
    refused("flat.webp", &[&parts.concat()[..], &data].concat(), "16383 × 12000");
    // A baseline JPEG of 65 500 × 3 000 that ends at once.
    let frame = [8, 0x0B, 0xB8, 0xFF, 0xDC, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    let scan = [0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 0x3F, 0];
    let jpeg = [&[0xFF, 0xD8, 0xFF, 0xC0, 0, 17][..], &frame, &scan, &[0xFF, 0xD9]].concat();
    refused("wide.jpg", &jpeg, "65500 × 3000");
    // Run lengths in a BMP.
    let mut bmp = b"BM".to_vec();
    bmp.extend([2_000_u32, 0, 54 + 1024, 40, 20_000, 9_900].map(u32::to_le_bytes).concat());
    bmp.extend([1_u16, 8].map(u16::to_le_bytes).concat());
    bmp.extend([1_u32, 0, 0, 0, 256, 0].map(u32::to_le_bytes).concat());
    bmp.resize(2_000, 0);
    refused("runs.bmp", &bmp, "20000 × 9900");
    let size = [65_000_u16.to_le_bytes(), 3_000_u16.to_le_bytes()].concat();
    let parts = [&b"GIF89a"[..], &size, &[0x80, 0, 0], &[0; 6], &[0x2C, 0, 0, 0, 0], &size, &[0, 2, 1, 0x44, 0, 0x3B]];
    let gif = parts.concat();
    refused("wide.gif", &gif, "65000 × 3000");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn what_a_kind_of_file_loses_is_said_before() {
    let deep = Picture::new(scene(20, 10));
    let jpeg = deep.losses(Kind::Jpeg { quality: 90 }).join(", ");
    assert!(jpeg.contains("16 bits become 8") && jpeg.contains("white"), "{jpeg}");
    assert!(deep.losses(Kind::WebP).join(", ").contains("16 bits"));
    assert!(deep.losses(Kind::Png).is_empty() && deep.losses(Kind::Tiff).is_empty());
    assert!(Picture::new(scene(20, 10).to_rgb8().into()).losses(Kind::WebP).is_empty());
    let wide = Picture::new(DynamicImage::new_luma8(20_000, 1));
    let mut bytes = Cursor::new(Vec::new());
    let refused = wide.write(&mut bytes, Kind::WebP, &Notes::default()).expect_err("it is too wide").to_string();
    assert!(refused.contains("20000 × 1"), "{refused}");
}

/// What a process holds at most, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
}

/// A medium-format camera's photograph, and an edit in it.
#[test]
#[ignore = "takes 4 GB of memory and some seconds"]
fn a_picture_of_150_megapixels_at_16_bit_opens() {
    let folder = Folder::new("large");
    let (width, height) = (14_204, 10_652);
    let image = ImageBuffer::from_fn(width, height, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 22;
        Rgb([x * 4, y * 6, (x + y) * 2].map(|level| (level + noise) as u16))
    });
    let source = Picture::new(DynamicImage::ImageRgb16(image));
    let path: PathBuf = folder.0.join("large.png");
    let (start, bytes) = (Instant::now(), source.png_bytes().expect("it has pixels"));
    fs::write(&path, &bytes).expect("the disk has room");
    println!("written in {:.1?}, {} MB, peak {} MiB", start.elapsed(), bytes.len() / 1_000_000, peak());
    drop(bytes);
    let start = Instant::now();
    let opened = Picture::open(&path).expect("it opens");
    println!("opened in {:.1?}, peak {} MiB", start.elapsed(), peak());
    assert!(opened == source);
    drop(source);
    let start = Instant::now();
    let (result, mask) = edited(&opened);
    println!("edited in {:.1?}, peak {} MiB", start.elapsed(), peak());
    assert_same_outside(&opened, &result, &mask, "150 megapixels");
}
