//! The surprise map: against its definition, what is selected by it, and in the window.

use std::ops::ControlFlow;
use std::sync::{LazyLock, Mutex, MutexGuard};

use andamento::command::{Command, Heat, Selection};
use andamento::editor::Engine;
use andamento::ui::App;
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::evaluate::likelihood;
use andamento_model::frame::Frame;
use andamento_model::lattice::{Lattice, Site, Token};
use andamento_model::library::{Model, bundled};
use andamento_model::network::Prompt;
use andamento_model::order;
use andamento_model::picture::{Combine, Mask, Picture, Rect};
use andamento_model::surprise::{Cell, ORDERS, Query, SurpriseMap, Threshold, frame, meaning, measure};
use andamento_model::tokenizer::to_samples;
use andamento_model::train::scenes;
use egui::accesskit::Toggled;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::driven::{Opening, until, until_ready};

fn load(id: &str) -> Model {
    bundled(id).expect("bundled").load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads")
}

static RANDAR: LazyLock<Mutex<Model>> = LazyLock::new(|| Mutex::new(load("scenes-randar")));
static VAR: LazyLock<Mutex<Model>> = LazyLock::new(|| Mutex::new(load("scenes-var")));

fn taken(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn query(picture: &Picture, side: u32, order: Option<&'static str>) -> Query {
    let frame = frame(&Mask::new(picture.width(), picture.height()), side);
    Query { picture: picture.clone(), frame, area: picture.rect(), class: 4, order, seed: 3 }
}

fn whole(model: &mut Model, query: &Query) -> SurpriseMap {
    measure(model, query, &mut |_| ControlFlow::Continue(())).expect("reads").expect("to the end")
}

/// A held-out scene of the model's own size.
fn scene(model: &Model) -> Picture {
    Picture::new(scenes::scene(4, 7_000_001, model.card.side).into())
}

/// `−log₂ p` of a token at a site, of a network that starts anew and is told some sites before.
fn bits_by_definition(model: &mut Model, before: &[u32], asked: &[u32], tokens: &[Token]) -> Vec<f64> {
    let lattice = model.lattice();
    let sites = |of: &[u32]| of.iter().copied().map(Site).collect::<Vec<_>>();
    model.network.begin(&Prompt { class: 4, guided: false }, &lattice).expect("begins");
    if !before.is_empty() {
        let told: Vec<Token> = before.iter().map(|site| tokens[*site as usize]).collect();
        model.network.tell(&sites(before), &told).expect("is told");
    }
    let logits = model.network.predict(&sites(asked)).expect("predicts");
    let [_, _, codes] = logits.dims();
    let rows = logits.into_data().try_to_vec::<f32>().expect("f32");
    let of = asked.iter().zip(rows.chunks_exact(codes));
    of.map(|(site, row)| {
        let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        let probability = f64::from(row[tokens[*site as usize] as usize]).exp() / sum;
        -probability.log2()
    })
    .collect()
}

#[track_caller]
fn assert_near(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() < 2e-3, "{what}: {got} instead of {want}");
}

#[test]
fn surprise_is_what_the_definition_says() {
    // One order: each token given those before it.
    for id in ["scenes-llamagen", "scenes-rar"] {
        let model = &mut load(id);
        let map = whole(model, &query(&scene(model), model.card.side, None));
        let raster: Vec<u32> = (0..256).collect();
        for site in [0, 1, 37, 128, 255] {
            let want = bits_by_definition(model, &raster[..site], &[site as u32], &map.tokens);
            assert_near(map.bits[site], want[0], &format!("{id}, token {site}"));
            assert_eq!((map.cells[site].site, map.cells[site].bits), (Site(site as u32), map.bits[site]));
        }
    }
    // Any order: the mean over some.
    let model = &mut *taken(&RANDAR);
    let map = whole(model, &query(&scene(model), model.card.side, None));
    for site in [5_u32, 140] {
        let mut sum = 0.0;
        for seed in 3..3 + ORDERS {
            let order = order::arrange("random", &map.lattice, seed).expect("arranges");
            let place = order.iter().position(|other| *other == site).expect("it is there");
            sum += bits_by_definition(model, &order[..place], &[site], &map.tokens)[0];
        }
        assert_near(map.bits[site as usize], sum / ORDERS as f64, &format!("RandAR, token {site}"));
    }
    let spiral = whole(model, &query(&scene(model), model.card.side, Some("spiral-in")));
    let order = order::arrange("spiral-in", &map.lattice, 3).expect("arranges");
    let want = bits_by_definition(model, &order[..90], &order[90..91], &map.tokens)[0];
    assert_near(spiral.bits[order[90] as usize], want, "RandAR, spiral");
}

#[test]
fn of_several_scales_the_mean_is_shown() {
    let model = &mut *taken(&VAR);
    let map = whole(model, &query(&scene(model), model.card.side, None));
    let lattice = map.lattice.clone();
    let mut bits = vec![0.0; lattice.len()];
    for scale in 0..lattice.scales().len() {
        let (before, asked): (Vec<u32>, Vec<u32>) =
            ((0..lattice.scale(scale).start).collect(), lattice.scale(scale).collect());
        let read = bits_by_definition(model, &before, &asked, &map.tokens);
        asked.iter().zip(read).for_each(|(site, read)| bits[*site as usize] = read);
        let mean = asked.iter().map(|site| bits[*site as usize]).sum::<f64>() / asked.len() as f64;
        assert_near(map.scales()[scale], mean, &format!("scale {scale}"));
    }
    bits.iter().zip(&map.bits).enumerate().for_each(|(site, (want, got))| assert_near(*got, *want, &format!("{site}")));
    // A place is cut so finely that every part lies in one token of each scale.
    for cell in map.cells.iter().step_by(19) {
        let scales = lattice.scales().iter().enumerate().map(|(scale, grid)| {
            let parts = (0..grid.rows * grid.cols).map(|part| {
                let (down, along) = (part / grid.cols, part % grid.cols);
                let (row, col) = ((cell.row * grid.rows + down) / 16, (cell.col * grid.cols + along) / 16);
                bits[lattice.scale(scale).start as usize + row * grid.cols + col]
            });
            parts.sum::<f64>() / grid.len() as f64
        });
        let want = scales.sum::<f64>() / lattice.scales().len() as f64;
        assert_near(cell.bits, want, &format!("row {}, column {}", cell.row, cell.col));
    }
    assert_eq!(map.cells.len(), 256);
}

#[test]
fn the_bits_add_up_to_the_likelihood_that_evaluate_measures() {
    for (id, order) in [
        ("scenes-llamagen", "raster"),
        ("scenes-rar", "raster"),
        ("scenes-tensorar", "raster"),
        ("scenes-randar", "raster"),
        ("scenes-var", order::SCALES),
    ] {
        let model = &mut load(id);
        let picture = scene(model);
        let map = whole(model, &query(&picture, model.card.side, Some(order)));
        let tokens = model.tokenizer.encode(to_samples(&picture.to_rgb8(), &model.device.device)).expect("encodes");
        assert_eq!(map.tokens, tokens, "{id}: a picture of the model's size is seen as it is");
        let bits = likelihood::bits(model.network.as_mut(), 4, order, &tokens, 3).expect("reads");
        assert_near(map.total(), bits.iter().sum(), id);
        let (least, most) = map.range();
        assert!(map.total() > 256.0 && least < map.mean() && map.mean() < most && most > least + 2.0);
        assert_eq!((map.scale()(least), map.scale()(most)), (0.0, 1.0));
        assert!(!meaning(&model.network.spec().abilities).is_empty());
    }
}

#[test]
fn what_does_not_belong_is_surprising() {
    for (model, least) in [(&RANDAR, 0.85), (&VAR, 0.85)] {
        let model = &mut *taken(model);
        let (side, token, mut right) = (model.card.side, model.card.stride(), 0.0);
        let patches = [(2, 3, 9), (9, 9, 15), (6, 10, 20)];
        for (row, col, other) in patches {
            let mut picture = scenes::scene(4, 7_000_000 + u64::from(row), side);
            let strange = scenes::scene(other, 7_100_000 + u64::from(row), side);
            let patch = Rect::new(i64::from(col * token), i64::from(row * token), 4 * token, 4 * token);
            for (x, y, pixel) in picture.enumerate_pixels_mut() {
                if patch.contains_pixel(x.into(), y.into()) {
                    *pixel = *strange.get_pixel(x, y);
                }
            }
            let map = whole(model, &query(&Picture::new(picture.into()), side, None));
            let (inside, outside): (Vec<&Cell>, Vec<&Cell>) =
                map.cells.iter().partition(|cell| patch.contains(cell.rect));
            assert_eq!(inside.len(), 16);
            let pairs = inside.iter().flat_map(|inside| outside.iter().map(|outside| inside.bits > outside.bits));
            right += pairs.filter(|right| *right).count() as f64 / (inside.len() * outside.len()) as f64;
        }
        let right = right / patches.len() as f64;
        println!("{}: a strange token is the more surprising one in {right:.3} of all pairs", model.card.title);
        assert!(right > least, "{}: {right}", model.card.title);
    }
}

#[test]
fn reading_can_be_broken_off_and_keeps_whole_passes() {
    let model = &mut *taken(&RANDAR);
    let (picture, side) = (scene(model), model.card.side);
    let query = query(&picture, side, None);
    let (mut heard, mut maps) = (Vec::new(), Vec::new());
    let map = measure(model, &query, &mut |progress| {
        heard.push((progress.done, progress.of));
        maps.extend(progress.map);
        if heard.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let map = map.expect("reads").expect("two passes are whole");
    assert_eq!(heard, [(256, 8 * 256), (512, 8 * 256)]);
    assert_eq!(maps.last(), Some(&map));
    let both =
        [3, 4].map(|seed| likelihood::bits(model.network.as_mut(), 4, "random", &map.tokens, seed).expect("reads"));
    map.bits
        .iter()
        .zip(both[0].iter().zip(&both[1]))
        .for_each(|(got, (a, b))| assert_near(*got, (a + b) / 2.0, "mean"));

    let model = &mut *taken(&VAR);
    let mut visits = 0;
    let nothing = measure(model, &Query { order: None, ..query.clone() }, &mut |progress| {
        visits += 1;
        assert!(progress.map.is_none());
        ControlFlow::Break(())
    });
    assert!(nothing.expect("is broken off").is_none() && visits == 1);
    let refused = |model: &mut Model, query: &Query| {
        measure(model, query, &mut |_| ControlFlow::Continue(())).expect_err("refused").to_string()
    };
    assert!(refused(model, &Query { order: Some("raster"), ..query.clone() }).starts_with("order"));
    assert!(refused(model, &Query { class: 99, ..query.clone() }).contains("class 99"));
    let other = Frame { size: [side / 2; 2], ..query.frame };
    assert!(refused(model, &Query { frame: other, ..query }).starts_with("frame"));
}

/// A map of made-up bits over a canvas.
fn made_up(frame: Frame, canvas: Rect, rows: usize, cols: usize, bits: impl Fn(usize) -> f64) -> SurpriseMap {
    let cell = |index: usize| {
        let (row, col) = (index / cols, index % cols);
        let rect = frame.site_rect(row, col, rows, cols).intersect(canvas);
        Cell { site: Site(index as u32), row, col, rect, bits: bits(index) }
    };
    let cells = (0..rows * cols).map(cell).filter(|cell| !cell.rect.is_empty()).collect();
    let bits = (0..rows * cols).map(bits).collect();
    SurpriseMap { frame, lattice: Lattice::grid(rows, cols), tokens: vec![0; rows * cols], bits, cells }
}

#[test]
fn the_top_share_is_selected_and_no_other_token_is_made_with_it() {
    // Canvases that do not divide evenly, one that the frame reaches out of, and one that it is a part of.
    for (width, height) in [(256, 256), (301, 233), (97, 500), (1200, 900)] {
        let canvas = Rect::canvas(width, height);
        let bounds = if width > 1000 { Rect::new(300, 200, 260, 190) } else { canvas };
        let frame = Frame::around(bounds, width, height, 128);
        let map = made_up(frame, canvas, 16, 16, |index| ((index * 89) % 101) as f64 / 7.0);
        for share in [0.0, 0.004, 0.1, 0.33, 0.5, 1.0] {
            let selected = map.selected(Threshold::Share(share));
            let count = selected.iter().filter(|selected| **selected).count();
            assert_eq!(count, (share * map.cells.len() as f64).round() as usize, "{width} × {height}, {share}");
            let bits = |on: bool| {
                let of = map.cells.iter().zip(&selected).filter(move |(_, selected)| **selected == on);
                of.map(|(cell, _)| cell.bits)
            };
            let (least, most) = (bits(true).fold(f64::INFINITY, f64::min), bits(false).fold(0.0, f64::max));
            assert!(least >= most, "{least} selected, {most} not");
            // All of as many bits as the least are selected by these bits.
            let by_bits = map.selected(Threshold::Bits(least));
            assert!(by_bits.iter().zip(&map.cells).all(|(selected, cell)| *selected == (cell.bits >= least)));

            let mask = map.mask(Threshold::Share(share), width, height);
            let made = frame.masked_sites(&mask, 16, 16);
            let mut want = [false; 256];
            map.cells.iter().zip(&selected).for_each(|(cell, selected)| want[cell.site.index()] = *selected);
            assert_eq!(made, want, "{width} × {height}, {share}: the tokens of the mask");
            let pixels = mask.bytes();
            assert!(pixels.iter().all(|byte| matches!(byte, 0 | 255)));
            if share >= 1.0 {
                let inside = frame.rect.intersect(canvas);
                let covered = pixels.iter().filter(|byte| **byte == 255).count();
                assert_eq!(covered, inside.width as usize * inside.height as usize, "no seams between neighbours");
            }
        }
    }
    // Equally surprising ones: further up first.
    let even = made_up(Frame::around(Rect::canvas(64, 64), 64, 64, 64), Rect::canvas(64, 64), 4, 4, |_| 2.0);
    let selected = even.selected(Threshold::Share(0.25));
    assert!(selected[..4].iter().all(|on| *on) && selected[4..].iter().all(|on| !on));
    assert_eq!(even.at(17, 3).map(|cell| (cell.row, cell.col)), Some((0, 1)));
    assert_eq!(even.at(64, 3), None);
    assert_eq!((even.range(), even.scale()(3.0)), ((2.0, 2.0), 0.5), "noise does not look like news");
}

fn click(window: &mut Harness<'_, App>, label: &str) {
    window.get_by_label(label).click();
    window.run_steps(3);
}

/// The switch is pressed, the map appears, a threshold is chosen, and the mask is there: one step that can be undone.
#[test]
fn the_window_measures_and_selects() {
    let mut window = Opening::default().window();
    let before = window.state().editor.document.mask.clone();
    let depth = window.state().editor.history.depth();
    // Even while the model is being loaded.
    click(&mut window, "Surprise");
    assert_eq!(window.state().editor.show.heat, Some(Heat::Surprise));
    until(&mut window, "the picture is read", |editor| {
        assert!(editor.notices.iter().all(|notice| !notice.bad), "{:?}", editor.notices);
        editor.surprise_map().is_some() && editor.surprise.reading.is_none()
    });
    let map = window.state().editor.surprise_map().cloned().expect("it is there");
    assert_eq!((map.cells.len(), map.frame.rect), (256, Rect::canvas(512, 512)));
    assert!(window.state().editor.surprise_is_current());
    assert!(window.query_by_label("Again").is_none());
    window.get_by_label_contains("Colours from");

    click(&mut window, "Select…");
    assert!(window.state().editor.is_selecting_by_surprise());
    // The slider has the keyboard.
    window.key_press(Key::ArrowRight);
    window.run_steps(2);
    let Threshold::Share(share) = window.state().editor.surprise.threshold else { panic!("it is a share") };
    assert!(share > 0.1 && share < 0.12, "{share}");
    assert_eq!(window.state().editor.document.mask, before, "so far it is a preview");
    window.state_mut().editor.apply(Command::Threshold(Threshold::Bits(map.mean())));
    window.state_mut().editor.apply(Command::CombineBy(Combine::Replace));
    let count = map.cells.iter().filter(|cell| cell.bits >= map.mean()).count();
    window.get_by_label("Select the most surprising tokens");
    window.key_press(Key::Enter);
    window.run_steps(3);
    let editor = &window.state().editor;
    assert!(!editor.is_selecting_by_surprise() && editor.history.depth() == depth + 1);
    assert_eq!(editor.history.undo_label(), Some("Select by surprise"));
    assert_eq!(editor.document.mask, map.mask(Threshold::Bits(map.mean()), 512, 512));
    let made = map.frame.masked_sites(&editor.document.mask, 16, 16).into_iter().filter(|made| *made).count();
    assert_eq!(made, count);
    assert_eq!(editor.show.heat, Some(Heat::Surprise), "what was shown before is shown again");
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.run_steps(2);
    assert_eq!(window.state().editor.document.mask, before);
    assert!(window.state().editor.surprise_map().is_some(), "it is of the picture, not of the mask");

    // The mask's algebra.
    let (selected, threshold) = (map.mask(Threshold::Share(0.2), 512, 512), Threshold::Share(0.2));
    for how in [Combine::Add, Combine::Subtract, Combine::Intersect] {
        window.state_mut().editor.apply(Command::Select(Selection::Surprising(threshold), how));
        let want = before.combined(&selected, how).expect("of one size");
        assert_eq!(window.state().editor.document.mask, want, "{how:?}");
        window.state_mut().editor.apply(Command::Undo);
    }
    // Nothing is so surprising.
    window.state_mut().editor.apply(Command::Select(Selection::Surprising(Threshold::Bits(1e6)), Combine::Replace));
    let notices: Vec<_> = window.state_mut().editor.notices.drain(..).collect();
    assert!(notices.len() == 1 && notices[0].cause.contains("no token is so surprising"), "{notices:?}");
    assert_eq!(window.state().editor.document.mask, before);

    // By its button, with another mode.
    click(&mut window, "Select…");
    click(&mut window, "Add to mask");
    click(&mut window, "Select the most surprising tokens");
    let both = before.combined(&map.mask(Threshold::Bits(map.mean()), 512, 512), Combine::Add).expect("of one size");
    assert_eq!(window.state().editor.document.mask, both);
    window.state_mut().editor.apply(Command::Undo);

    // By key; Escape leaves it with what was shown before.
    window.state_mut().editor.apply(Command::ShowHeat(None));
    window.run_steps(2);
    window.key_press_modifiers(Modifiers::SHIFT, Key::S);
    window.run_steps(3);
    assert!(window.state().editor.is_selecting_by_surprise());
    window.key_press(Key::Escape);
    window.run_steps(2);
    let editor = &window.state().editor;
    assert!(!editor.is_selecting_by_surprise() && editor.show.heat.is_none());

    // Another subject: the map can be made anew.
    window.key_press(Key::S);
    window.run_steps(2);
    window.state_mut().editor.apply(Command::Subject(7));
    window.run_steps(2);
    assert!(!window.state().editor.surprise_is_current());
    click(&mut window, "Again");
    until(&mut window, "it is read again", |editor| editor.surprise.reading.is_none());
    assert!(window.state().editor.surprise_is_current());
    assert!(window.state().editor.surprise_map() != Some(&map));
}

/// Whatever takes the model ends the reading; a map belongs to its picture; and what cannot be had says why.
#[test]
fn reading_gives_way_and_a_map_belongs_to_its_picture() {
    let mut window = Opening::default().window();
    until_ready(&mut window);
    let editor = &mut window.state_mut().editor;
    editor.apply(Command::Steps(4));
    editor.apply(Command::MeasureSurprise);
    assert!(editor.surprise.reading.is_some());
    editor.apply(Command::Generate);
    assert!(editor.run.is_some());
    window.run_steps(2);
    let switch = |window: &Harness<'_, App>| window.get_by_label("Surprise").accesskit_node().is_disabled();
    assert!(switch(&window), "while a run is on");
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    until(&mut window, "the reading is given up", |editor| editor.surprise.reading.is_none());
    assert!(window.state().editor.notices.iter().all(|notice| !notice.bad));
    assert!(window.state().editor.document.generated, "the run was not disturbed");
    assert!(window.state().editor.surprise_map().is_none(), "the picture is another one");

    click(&mut window, "Surprise");
    until(&mut window, "it is read", |editor| editor.surprise_map().is_some() && editor.surprise.reading.is_none());
    let toggled = window.get_by_label("Surprise").accesskit_node().toggled();
    assert_eq!(toggled, Some(Toggled::True));
    window.state_mut().editor.apply(Command::Undo);
    window.run_steps(2);
    assert!(window.state().editor.surprise_map().is_none(), "it was of the result");
    window.get_by_label("Read it");
    window.state_mut().editor.apply(Command::Redo);
    window.run_steps(2);
    assert!(window.state().editor.surprise_map().is_some());

    // Told to stop, it stops.
    window.state_mut().editor.apply(Command::Undo);
    window.state_mut().editor.apply(Command::MeasureSurprise);
    window.state_mut().editor.apply(Command::Stop);
    until(&mut window, "it has stopped", |editor| editor.surprise.reading.is_none());
    // Another model: the map was the first one's.
    window.state_mut().editor.apply(Command::Redo);
    window.state_mut().editor.apply(Command::ChooseModel("scenes-var".into()));
    until_ready(&mut window);
    assert!(window.state().editor.surprise_map().is_none());
    click(&mut window, "Read it");
    until(&mut window, "it is read", |editor| editor.surprise_map().is_some() && editor.surprise.reading.is_none());
    let map = window.state().editor.surprise_map().expect("it is there");
    assert!(map.lattice.scales().len() > 1 && map.cells.len() == 256);
    // A model that could not be loaded.
    window.state_mut().editor.apply(Command::ShowHeat(None));
    window.state_mut().editor.apply(Command::Undo);
    window.state_mut().editor.engine = Engine::Failed("no memory".into());
    window.run_steps(2);
    assert!(switch(&window));
    window.state_mut().editor.apply(Command::MeasureSurprise);
    let notices: Vec<_> = window.state_mut().editor.notices.drain(..).collect();
    assert!(notices.iter().any(|notice| notice.cause.contains("no memory")), "{notices:?}");
}
