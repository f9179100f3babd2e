//! The painted order: which tokens lie on a path, that runs follow it and can be made again, and the brush that paints it.

use std::sync::{Arc, LazyLock, Mutex};

use andamento::command::{Command, Tool};
use andamento::files::project;
use andamento::ui::App;
use andamento_model::boldness::Boldness;
use andamento_model::decode::Knobs;
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::{Grid, Lattice, Site};
use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::{Card, MODELS, Model};
use andamento_model::order::{Course, OrderPath, Stroke};
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_tests::run_through;
use egui::{Key, Modifiers, PointerButton, Pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use proptest::prelude::*;

use crate::driven::{self, Opening, on_screen, until, until_ready};
use crate::folder::Folder;

/// A frame of four by four tokens, each of ten canvas pixels, away from the canvas's corner.
const FRAME: Frame = Frame { rect: Rect::new(100, 50, 40, 40), size: [64, 64] };

fn stroke(width: f32, points: &[(f32, f32)], erase: bool) -> Stroke {
    Stroke { width, points: points.to_vec(), erase }
}

fn path(strokes: Vec<Stroke>) -> OrderPath {
    OrderPath::new(strokes).expect("a path")
}

fn sites(strokes: Vec<Stroke>) -> Vec<u32> {
    path(strokes).sites(&FRAME, &Lattice::grid(4, 4))
}

#[test]
fn a_stroke_takes_tokens_in_the_sequence_in_which_it_touches_them() {
    let right = stroke(2.0, &[(95.0, 65.0), (145.0, 65.0)], false);
    assert_eq!(sites(vec![right.clone()]), [4, 5, 6, 7]);
    let left = stroke(2.0, &[(145.0, 65.0), (95.0, 65.0)], false);
    assert_eq!(sites(vec![left]), [7, 6, 5, 4], "the other way round");
    let down = stroke(2.0, &[(125.0, 45.0), (125.0, 95.0)], false);
    assert_eq!(sites(vec![right.clone(), down.clone()]), [4, 5, 6, 7, 2, 10, 14], "a second stroke is appended");
    let out = stroke(2.0, &[(125.0, 65.0)], true);
    assert_eq!(
        sites(vec![right.clone(), out.clone(), down.clone()]),
        [4, 5, 7, 2, 6, 10, 14],
        "taken out, and back in"
    );
    assert_eq!(sites(vec![right.clone(), down, out]), [4, 5, 7, 2, 10, 14]);

    // A dab takes what it touches at once, nearest first; a wide brush its neighbours as well.
    assert_eq!(sites(vec![stroke(2.0, &[(114.0, 65.0)], false)]), [5]);
    assert_eq!(sites(vec![stroke(16.0, &[(114.0, 65.0)], false)])[..2], [5, 4]);
    let wide = sites(vec![stroke(14.0, &[(95.0, 65.0), (145.0, 65.0)], false)]);
    assert_eq!((wide.len(), wide[0]), (12, 4), "three rows: {wide:?}");
    let place = |site: u32| wide.iter().position(|other| *other == site).expect("it is on it");
    assert!((0..3).all(|col| [0, 4, 8].iter().all(|row| place(row + col) < place(row + col + 1))), "{wide:?}");
    assert!([0, 8].iter().all(|row| place(*row) > place(4)), "the middle row leads");
    assert!(sites(vec![stroke(5.0, &[(0.0, 0.0), (90.0, 40.0)], false)]).is_empty(), "beside the frame");
    let scales = Lattice::of_scales(vec![Grid::new(1, 1), Grid::new(4, 4)]);
    assert!(path(vec![right]).sites(&FRAME, &scales).is_empty(), "scales have no path");
}

#[test]
fn lines_are_cut_where_they_were_taken_out() {
    let line = stroke(4.0, &[(0.0, 0.0), (100.0, 0.0)], false);
    let out = stroke(20.0, &[(50.0, 0.0)], true);
    let lines = path(vec![out.clone(), line.clone()]).lines();
    assert!(lines.len() == 1 && lines[0] == line.points, "what comes later stays");
    let left = path(vec![line, out]).lines();
    assert_eq!(left.len(), 2);
    assert!(left[0].last().is_some_and(|(x, _)| (34.0..40.0).contains(x)), "{left:?}");
    assert!(left[1].first().is_some_and(|(x, _)| (60.0..66.0).contains(x)), "{left:?}");
}

#[test]
fn what_no_canvas_has_is_refused() {
    for bad in [
        stroke(0.0, &[(1.0, 1.0)], false),
        stroke(f32::NAN, &[(1.0, 1.0)], false),
        stroke(1e9, &[(1.0, 1.0)], false),
        stroke(1.0, &[(f32::INFINITY, 1.0)], false),
        stroke(1.0, &[(1.0, f32::NAN)], false),
        stroke(1.0, &vec![(1.0, 1.0); 70_000], false),
    ] {
        assert!(OrderPath::new(vec![bad]).is_err());
    }
    assert!(serde_json::from_str::<OrderPath>(r#"[{"width": 3, "point": []}]"#).is_err(), "a word that means nothing");
}

fn strokes() -> impl Strategy<Value = Vec<Stroke>> {
    let point = (80.0..160.0_f32, 30.0..110.0_f32);
    let stroke = (0.5..30.0_f32, prop::collection::vec(point, 1..6), prop::bool::weighted(0.3));
    prop::collection::vec(stroke.prop_map(|(width, points, erase)| Stroke { width, points, erase }), 0..5)
}

/// How near a point comes to a rectangle.
fn distance((x, y): (f32, f32), rect: Rect) -> f32 {
    let beyond = |at: f32, low: f32, high: f32| (low - at).max(at - high).max(0.0);
    let across = beyond(x, rect.x as f32, rect.right() as f32);
    across.hypot(beyond(y, rect.y as f32, rect.bottom() as f32))
}

proptest! {
    /// Against a brush that is moved by small steps.
    #[test]
    fn a_path_is_what_a_brush_touches_step_by_step(strokes in strokes()) {
        let rect = |site: u32| FRAME.site_rect(site as usize / 4, site as usize % 4, 4, 4);
        let mut on = [false; 16];
        for stroke in &strokes {
            let pairs = stroke.points.windows(2).map(|pair| (pair[0], pair[1]));
            let segments: Vec<_> = std::iter::once((stroke.points[0], stroke.points[0])).chain(pairs).collect();
            let brushes = segments.iter().flat_map(|(from, to)| {
                let at = |step: u32| (step as f32 / 200.0, 1.0 - step as f32 / 200.0);
                (0..=200).map(at).map(move |(b, a)| (a * from.0 + b * to.0, a * from.1 + b * to.1))
            });
            let brushes: Vec<_> = brushes.collect();
            for (site, on) in on.iter_mut().enumerate() {
                let nearest = brushes.iter().map(|brush| distance(*brush, rect(site as u32))).fold(f32::MAX, f32::min);
                let deep = stroke.width / 2.0 - nearest;
                // A brush that only just touches a token may miss it between two steps.
                prop_assume!(deep.abs() > 0.2);
                if deep > 0.0 {
                    *on = !stroke.erase;
                }
            }
        }
        let mut exact = sites(strokes);
        exact.sort_unstable();
        let stepped: Vec<u32> = (0..16).filter(|site| on[*site as usize]).collect();
        prop_assert_eq!(exact, stepped);
    }

    #[test]
    fn every_token_is_made_once_whatever_is_painted(strokes in strokes(), refined in any::<bool>(), seed in 0..9_u64) {
        let lattice = if refined { Lattice::refined(Grid::new(2, 2), 2) } else { Lattice::grid(4, 4) };
        let order = if refined { "hierarchical" } else { "random" };
        let painted = path(strokes);
        let course = Course { order, seed, path: &painted };
        let masked: Vec<bool> = (0..16).map(|site| site % 3 > 0).collect();
        let (mut all, led) = course.arrange(&FRAME, &lattice, &masked).expect("an order");
        prop_assert!(led.iter().all(|site| masked[*site as usize]));
        let coarse = |site: &u32| lattice.coarse_site(Site(*site)).is_some();
        if refined {
            prop_assert!(all.iter().take(4).all(coarse), "the coarse grid comes first");
            let first: Vec<u32> = led.iter().copied().filter(coarse).collect();
            prop_assert_eq!(&all[..first.len()], &first[..]);
        } else {
            prop_assert_eq!(&all[..led.len()], &led[..]);
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..16).collect::<Vec<u32>>());
    }
}

/// The bundled model, loaded once.
static MODEL: LazyLock<Mutex<Model>> =
    LazyLock::new(|| Mutex::new(MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads")));

fn request(width: u32, height: u32, painted: OrderPath) -> Request {
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
    let mut mask = Mask::new(width, height);
    mask.fill_rect(Rect::new(0, 0, width, height), 255);
    mask.fill_rect(Rect::new(0, 0, 64, 64), 0);
    Request {
        picture: Picture::new(picture.into()),
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: "raster".into(),
        order_seed: 3,
        path: Arc::new(painted),
        boldness: Boldness::default(),
        schedule: Schedule::Cosine { steps: 6 },
        knobs: Knobs { class: 2, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed: 3 },
    }
}

/// The path runs through several frames: in each, steps of several tokens make what lies on it first, in its sequence. What
/// was made can be written down, read and made again.
#[test]
fn a_run_follows_the_path_through_several_frames() {
    let mut model = MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let side = model.card.side;
    let (width, height) = (2 * side, side);
    // From the right to the left, through all frames.
    let middle = height as f32 * 0.7;
    let line = stroke(12.0, &[(width as f32 - 2.0, middle), (2.0, middle)], false);
    let request = request(width, height, path(vec![line]));
    let mut painting = paint(&mut model, &request, &[]).expect("starts");
    let picture = run_through(&mut painting);
    assert!(painting.legs().len() > 1, "several frames");
    let mut on_path = 0;
    for leg in painting.legs() {
        let on = request.path.sites(&leg.pass.frame, &leg.plan.lattice);
        let on: Vec<Site> = on.into_iter().map(Site).filter(|site| leg.plan.given[site.index()].is_none()).collect();
        let made: Vec<Site> = (0..leg.plan.visits.len()).flat_map(|step| leg.plan.made_by(step)).collect();
        assert_eq!(made[..on.len()], on[..], "what lies on the path comes first");
        let rest: Vec<Site> = made[on.len()..].to_vec();
        assert!(rest.is_sorted(), "then the others, in the order of the panel");
        assert!(leg.plan.visits.iter().any(|visit| visit.sites.len() > 1), "steps of several tokens");
        on_path += on.len();
    }
    assert!(on_path > 40, "{on_path} tokens on the path");
    let (steps, source) = (painting.steps().to_vec(), Source::Blank { width, height });
    let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger");
    drop(painting);

    let again = Ledger::from_json(&ledger.to_json().expect("writes"), "ledger.json").expect("reads");
    assert_eq!(again.path, *request.path);
    assert!(again.replay(&mut model, &request.picture).expect("replays") == picture, "the replay is another picture");
    let request_again = again.request(request.picture.clone()).expect("a request");
    let mut painting = paint(&mut model, &request_again, &[]).expect("starts");
    assert!(run_through(&mut painting) == picture && painting.steps() == steps, "the same request, other tokens");
    drop(painting);
    // Gone on with in the middle it comes to the same.
    let mut painting = paint(&mut model, &request, &steps[..steps.len() / 2]).expect("starts");
    assert!(run_through(&mut painting) == picture);
    drop(painting);
    let without = Request { path: Arc::default(), ..request };
    let mut painting = paint(&mut model, &without, &[]).expect("starts");
    let first = painting.next().expect("an event").expect("planned");
    let Event::Planned { plan, .. } = first else { panic!("the plan comes first") };
    let made: Vec<Site> = (0..plan.visits.len()).flat_map(|step| plan.made_by(step)).collect();
    assert!(made.is_sorted(), "without a path the order is the panel's alone");
}

/// Ledgers of earlier versions are read; those of later ones are not.
#[test]
fn earlier_ledgers_are_read() {
    let mut model = MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let side = model.card.side;
    let mut request = request(side, side, OrderPath::default());
    request.schedule = Schedule::Cosine { steps: 3 };
    let mut painting = paint(&mut model, &request, &[]).expect("starts");
    let picture = run_through(&mut painting);
    let source = Source::Blank { width: side, height: side };
    let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger").to_json().expect("writes");
    drop(painting);
    let now: serde_json::Value = serde_json::from_str(&ledger).expect("JSON");
    assert_eq!((now["version"].as_u64(), now.get("path")), (Some(5), None), "nothing was painted");
    let old = |version: u32, lacks: &[&str]| {
        let mut old = now.clone();
        let fields = old.as_object_mut().expect("an object");
        fields.insert("version".into(), version.into());
        lacks.iter().for_each(|field| assert!(fields.remove(*field).is_some(), "{field}"));
        Ledger::from_json(&old.to_string(), "old.json")
    };
    for (version, lacks) in [(4, &[][..]), (3, &[][..]), (2, &["seam", "passes", "extent"])] {
        let read = old(version, lacks).unwrap_or_else(|error| panic!("version {version}: {error}"));
        assert!(read.path.is_empty());
        assert!(read.replay(&mut model, &request.picture).expect("replays") == picture, "version {version}");
    }
    assert!(old(1, &[]).is_err() && old(6, &[]).is_err());
    let mut bad = now.clone();
    bad["path"] = serde_json::json!([{ "width": -1, "points": [[0, 0]] }]);
    assert!(Ledger::from_json(&bad.to_string(), "bad.json").is_err(), "a path that means nothing");
}

#[test]
fn models_that_follow_their_own_order_refuse_a_path() {
    let abilities =
        |family: &str, size: &str| Card::published(family, size).expect("a card").abilities().expect("they");
    for family in andamento_model::networks::FAMILIES {
        for preset in (family.presets)() {
            let abilities = abilities(family.name, preset.name);
            let follows = matches!(family.name, "RandAR" | "RAR");
            assert_eq!(abilities.check_path().is_ok(), follows, "{} {}", family.name, preset.name);
            assert_eq!(abilities.experimental_path().is_some(), family.name == "RAR", "{}", family.name);
        }
    }
}

/// Drags between two points of the canvas, and may hold on.
fn drag(window: &mut Harness<'_, App>, button: PointerButton, from: (f32, f32), to: (f32, f32), let_go: bool) {
    let [from, to] = [from, to].map(|(x, y)| on_screen(window, x, y));
    if let_go { driven::drag(window, button, from, to) } else { driven::draw(window, button, from, to) }
}

fn painted(window: &Harness<'_, App>) -> OrderPath {
    OrderPath::clone(&window.state().editor.document.order_path)
}

#[test]
fn the_order_brush_paints_takes_out_and_is_followed() {
    let mut window = Opening::default().window();
    until_ready(&mut window);
    let (before, size) = (window.state().editor.document.mask.clone(), window.state().editor.brush.size);
    window.key_press(Key::O);
    window.run_steps(2);
    let tool = |window: &Harness<'_, App>| window.state().editor.brush.tool;
    assert_eq!(tool(&window), Tool::Order);
    assert!(window.state().editor.brush.size < size, "it has a size of its own");
    let (width, height) = (before.width() as f32, before.height() as f32);
    let (left, right) = ((0.4 * width, 0.48 * height), (0.8 * width, 0.5 * height));
    drag(&mut window, PointerButton::Primary, right, left, true);
    let first = painted(&window);
    assert_eq!(first.strokes().len(), 1);
    assert!(first.strokes()[0].points[0].0 > first.strokes()[0].points[5].0, "from the right to the left");
    let label = |window: &Harness<'_, App>| window.state().editor.history.undo_label().map(str::to_owned);
    assert_eq!((window.state().editor.history.depth(), label(&window).as_deref()), (1, Some("Order stroke")));
    assert!(window.state().editor.document.mask == before, "the mask stays as it is");
    assert!(window.state().editor.is_unsaved(), "it is in no file");

    // Escape leaves a stroke.
    drag(&mut window, PointerButton::Primary, left, right, false);
    assert!(window.state().editor.painted_points().is_some());
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert!(window.state().editor.painted_points().is_none());
    window.event(egui::Event::PointerButton {
        pos: Pos2::new(500.0, 400.0),
        button: PointerButton::Primary,
        pressed: false,
        modifiers: Modifiers::NONE,
    });
    window.run_steps(2);
    assert!(painted(&window) == first && window.state().editor.history.depth() == 1);

    // The right button takes out, X turns the brush around, and what takes nothing out is no change.
    let beside = ((0.1 * width, 0.15 * height), (0.2 * width, 0.15 * height));
    drag(&mut window, PointerButton::Secondary, beside.0, beside.1, true);
    assert_eq!(window.state().editor.history.depth(), 1);
    drag(&mut window, PointerButton::Secondary, (0.6 * width, 0.3 * height), (0.6 * width, 0.7 * height), true);
    assert_eq!((window.state().editor.history.depth(), painted(&window).lines().len()), (2, 2));
    window.state_mut().editor.apply(Command::Undo);
    assert_eq!(painted(&window), first);
    window.key_press(Key::X);
    window.run_steps(2);
    assert!(window.state().editor.order_brush.erase && tool(&window) == Tool::Order);
    drag(&mut window, PointerButton::Primary, left, right, true);
    assert!(painted(&window).is_empty(), "nothing is left");
    window.state_mut().editor.apply(Command::Undo);
    window.get_by_label("Take out").click();
    window.run_steps(2);
    assert!(!window.state().editor.order_brush.erase);
    window.get_by_label("Clear path").click();
    window.run_steps(2);
    assert!(painted(&window).is_empty() && label(&window).as_deref() == Some("Clear painted order"));
    window.state_mut().editor.apply(Command::Undo);
    assert_eq!(painted(&window), first);

    // A run follows it; the path goes with the canvas when that grows, and into a project and back.
    for command in [Command::Steps(6), Command::Order("raster"), Command::Generate] {
        window.state_mut().editor.apply(command);
    }
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    let track = window.state().editor.document.track.clone().expect("a run");
    let leg = &track.legs[0];
    let on = first.sites(&leg.frame, &leg.plan.lattice);
    let on: Vec<Site> = on.into_iter().map(Site).filter(|site| leg.plan.given[site.index()].is_none()).collect();
    let made: Vec<Site> = track.steps.iter().flat_map(|step| step.made.iter().map(|made| made.site)).collect();
    assert!(on.len() > 3 && made[..on.len()] == on[..], "{on:?} {made:?}");
    window.state_mut().editor.apply(Command::ExtendCanvas([32, 0, 0, 0]));
    let x = |path: &OrderPath| path.strokes()[0].points[0].0;
    assert_eq!(x(&painted(&window)), x(&first) + 32.0);
    let folder = Folder::new("order");
    let file = folder.0.join("a.andamento");
    project::save(&file, &window.state().editor.snapshot()).expect("it is saved");
    let read = project::open(&file).expect("it is read");
    assert_eq!(*read.entries[read.at].document.order_path, painted(&window));
    assert_eq!(*read.entries[read.at - 1].document.order_path, first);
    let run = read.entries[read.at - 1].document.track.clone().expect("its run");
    assert_eq!(*run.request.path, first, "the request says what was followed");

    // A model with an order of its own has no such tool, and leaves the path alone.
    let greyed = |window: &Harness<'_, App>| window.get_by_label("Order brush").accesskit_node().is_disabled();
    assert!(!greyed(&window));
    let abilities = Card::published("LlamaGen", "B-256").expect("a card").abilities().expect("abilities");
    window.state_mut().editor.abilities = abilities;
    window.run_steps(2);
    assert!(greyed(&window));
    window.state_mut().editor.apply(Command::Choose(Tool::Brush));
    window.state_mut().editor.apply(Command::Choose(Tool::Order));
    assert_eq!(tool(&window), Tool::Brush);
    assert!(window.state().editor.notices.iter().any(|notice| notice.cause.contains("row by row")), "it says why");
    assert_eq!(x(&painted(&window)), x(&first) + 32.0, "it is kept");
}
