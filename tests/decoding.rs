//! Properties of orders, schedules, plans and runs, and what must be true of the bundled model.

use std::collections::BTreeSet;
use std::sync::Arc;

use andamento_model::boldness::Boldness;
use andamento_model::decode::Knobs;
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::Extent;
use andamento_model::lattice::{Grid, Lattice, Site};
use andamento_model::library::{Card, MODELS};
use andamento_model::networks::FAMILIES;
use andamento_model::order::{ORDERS, arrange};
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Moment, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::tokenizer::{to_picture, to_samples};
use andamento_model::train::{HELD_OUT, scenes};

#[test]
fn every_order_visits_every_token_once_on_any_grid() {
    for order in &ORDERS {
        for (rows, cols) in
            [(1, 1), (1, 7), (5, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 9), (16, 16), (16, 64), (32, 32)]
        {
            let mut sites = order.arrange(Grid::new(rows, cols), 11);
            let again = order.arrange(Grid::new(rows, cols), 11);
            assert_eq!(sites, again, "{}: the same seed, another order", order.name);
            if rows * cols >= 16 {
                let other = order.arrange(Grid::new(rows, cols), 12);
                assert_eq!(sites != other, order.random, "{}: whether the seed matters", order.name);
            }
            sites.sort_unstable();
            assert!(sites.into_iter().eq(0..(rows * cols) as u32), "{} on {rows} × {cols}", order.name);
        }
    }
}

#[test]
fn partly_random_orders_begin_where_they_say() {
    let grid = Grid::new(16, 16);
    let first = |name: &str, count: usize| -> Vec<(usize, usize)> {
        let order = ORDERS.iter().find(|order| order.name == name).expect("exists").arrange(grid, 3);
        order[..count].iter().map(|site| (*site as usize / 16, *site as usize % 16)).collect()
    };
    let middle = |at: usize| (4..12).contains(&at);
    assert!(first("hierarchical", 64).iter().all(|(row, col)| row % 2 == 0 && col % 2 == 0));
    assert!(first("center-first", 64).iter().all(|(row, col)| middle(*row) && middle(*col)));
    assert!(first("border-first", 192).iter().all(|(row, col)| !(middle(*row) && middle(*col))));
}

#[test]
fn every_published_size_has_a_card_and_says_where_it_works() {
    for family in FAMILIES {
        for preset in (family.presets)() {
            let card = Card::published(family.name, preset.name).expect("a card");
            assert_eq!(card.stride() as usize * card.grid, card.side as usize, "{}: whole tokens", card.title);
            let abilities = card.abilities().expect("abilities");
            assert!(abilities.check_extent(Extent::Trained).is_ok());
            for extent in [Extent::Canvas, Extent::Refined(2)] {
                assert_eq!(abilities.check_extent(extent).is_ok(), family.name == "RandAR", "{}", card.title);
            }
            assert!(abilities.check_extent(Extent::Refined(1)).is_err(), "refined to no more tokens");
        }
    }
}

/// A given token for every site but those of a mask, which is some pattern of the numbers.
fn given(sites: usize, made: impl Fn(usize) -> bool) -> Vec<Option<u32>> {
    (0..sites).map(|site| (!made(site)).then_some(site as u32)).collect()
}

#[test]
fn every_masked_token_is_made_once_and_cost_follows_the_mask() {
    let plan = |masked: usize, total: usize, schedule, when| {
        let order: Vec<u32> = (0..total as u32).rev().collect();
        Plan::new(Lattice::grid(1, total), &order, &given(total, |site| site < masked), schedule, when).expect("plan")
    };
    for total in [1usize, 16, 255, 256, 1024] {
        for masked in [1, total.div_ceil(10), total.div_ceil(2), total] {
            let cosines = [1, 2, 7, 88, 256, 2000].map(|steps| (Schedule::Cosine { steps }, Given::First));
            let others = [Given::First, Given::InPlace].map(|when| (Schedule::OneByOne, when));
            for (schedule, when) in cosines.into_iter().chain(others) {
                let plan = plan(masked, total, schedule, when);
                let made: Vec<usize> = (0..plan.visits.len()).map(|step| plan.made_by(step).count()).collect();
                assert!(!made.contains(&0), "{schedule:?}: a step without work");
                let mut sites: Vec<u32> =
                    (0..plan.visits.len()).flat_map(|step| plan.made_by(step)).map(|site| site.0).collect();
                sites.sort_unstable();
                assert_eq!(sites, (0..masked as u32).collect::<Vec<_>>(), "{schedule:?} of {masked} in {total}");
            }
        }
    }
    let steps = |masked| plan(masked, 256, Schedule::Cosine { steps: 88 }, Given::First).visits.len();
    assert!(steps(26) * 4 < steps(256) * 3 / 2);
}

#[test]
fn given_tokens_are_told_when_the_network_reads_them() {
    let order: Vec<u32> = vec![2, 0, 3, 1, 5, 4];
    let given = given(6, |site| site == 3 || site == 5);
    let plan = |schedule, when| Plan::new(Lattice::grid(2, 3), &order, &given, schedule, when).expect("plan");
    let told = |plan: &Plan| -> Vec<Vec<u32>> {
        plan.visits.iter().map(|visit| visit.told.iter().map(|site| site.0).collect()).collect()
    };
    let known = |plan: &Plan| -> Vec<usize> { plan.visits.iter().map(|visit| visit.known).collect() };

    let first = plan(Schedule::OneByOne, Given::First);
    assert_eq!((told(&first), known(&first)), (vec![vec![2, 0, 1, 4], vec![]], vec![4, 5]));
    let in_place = plan(Schedule::OneByOne, Given::InPlace);
    assert_eq!((told(&in_place), known(&in_place)), (vec![vec![2, 0], vec![1]], vec![2, 4]));
}

#[test]
fn refined_lattices_are_made_in_two_passes() {
    let (coarse, steps) = (Grid::new(4, 4), 12);
    let lattice = Lattice::refined(coarse, 2);
    assert_eq!((lattice.finest(), lattice.coarse(), lattice.refinement()), (Grid::new(8, 8), coarse, 2));
    let stands: Vec<_> =
        lattice.sites().filter_map(|site| lattice.coarse_site(site).map(|coarse| (site, coarse))).collect();
    assert!(stands.iter().map(|(_, coarse)| coarse.0).eq(0..16), "each coarse site once, in raster order");
    assert!(stands.iter().all(|(site, coarse)| site.0 == coarse.0 / 4 * 16 + coarse.0 % 4 * 2));

    let order = arrange("hierarchical", &lattice, 7).expect("an order");
    let counts = |plan: &Plan, total: usize| -> Vec<usize> {
        plan.visits.iter().filter(|visit| visit.total == total).map(|visit| visit.sites.len()).collect()
    };
    let known = |plan: &Plan| -> Vec<(usize, usize)> { plan.visits.iter().map(|v| (v.known, v.total)).collect() };
    let schedule = Schedule::Cosine { steps };
    let whole = Plan::new(lattice.clone(), &order, &[None; 64], schedule, Given::First).expect("plan");
    // As `calculate_num_query_tokens_for_parallel_decoding` has it for 16 tokens, and for 64 of which 16 are done.
    assert_eq!(counts(&whole, 16), [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(counts(&whole, 64), [1, 1, 1, 1, 1, 1, 4, 6, 8, 8, 8, 8]);
    assert_eq!(known(&whole)[..2], [(0, 16), (1, 16)]);
    assert_eq!(known(&whole)[12..][..2], [(16, 64), (17, 64)]);
    assert!(whole.visits[..12].iter().flat_map(|visit| &visit.sites).all(|site| lattice.coarse_site(*site).is_some()));

    let single = Plan::new(lattice.clone(), &order, &given(64, |site| site == 2 || site == 3), schedule, Given::First);
    assert_eq!(known(&single.expect("plan")), [(15, 16), (63, 64)], "a masked token of either pass");
    let fine_first = arrange("raster", &lattice, 0).expect("an order");
    assert!(Plan::new(lattice.clone(), &fine_first, &[None; 64], schedule, Given::First).is_err(), "no coarse pass");

    assert_eq!(whole.clone().dropping(0.4, 1).dropped.len(), 6, "a share of the coarse sites, rounded down");
    assert_eq!(whole.clone().dropping(0.4, 1).dropped, whole.clone().dropping(0.4, 1).dropped, "by the seed");
    let large = Lattice::grid(64, 64);
    let order = arrange("random", &large, 0).expect("an order");
    let trained = Plan::new(large, &order, &[None; 4096], schedule, Given::First).expect("plan");
    let dropped = trained.dropping(0.25, 1).dropped.len();
    assert!((900..1150).contains(&dropped), "{dropped} of 4096 at a probability of one quarter");
}

#[test]
fn windows_visit_a_token_as_often_as_it_is_revised() {
    for width in 1..=5 {
        let order: Vec<u32> = (0..12).collect();
        let given = given(12, |site| (5..9).contains(&site));
        let schedule = Schedule::Windows { width };
        let plan = Plan::new(Lattice::grid(3, 4), &order, &given, schedule, Given::InPlace).expect("plan");
        let visited = |site: u32| plan.visits.iter().filter(|visit| visit.sites.contains(&Site(site))).count();
        assert!((5..9).all(|site| visited(site) == width), "width {width}");
        // Before it reads the window of slot t, the network knows every given token in it.
        let mut known = vec![];
        for visit in &plan.visits {
            known.extend(&visit.told);
            let read = visit.sites[0].0..(visit.sites[0].0 + width as u32 - 1).min(12);
            let missing = (0..read.end).map(Site).filter(|site| given[site.index()].is_some() && !known.contains(site));
            assert_eq!(missing.count(), 0, "width {width}");
        }
        known.sort_unstable();
        assert!(known.windows(2).all(|pair| pair[0] != pair[1]), "told twice");
    }
}

#[test]
fn scales_are_made_whole_from_coarse_to_fine() {
    let lattice = Lattice::of_scales([1, 2, 3, 4].map(|side| Grid::new(side, side)).to_vec());
    let order = arrange("scales", &lattice, 0).expect("an order");
    assert!(arrange("random", &lattice, 0).is_err(), "other orders work within one grid");
    let nothing = vec![None; lattice.len()];
    let whole = Plan::new(lattice.clone(), &order, &nothing, Schedule::Scales, Given::InPlace).expect("plan");
    assert_eq!(whole.visits.iter().map(|visit| visit.sites.len()).collect::<Vec<_>>(), [1, 4, 9, 16]);
    assert_eq!((0..=4).map(|steps| whole.scales_after(steps)).collect::<Vec<_>>(), [1, 1, 2, 3, 4]);

    // The right half of the finest grid, by the published rule: the single token of the first scale is kept.
    let finest: Vec<bool> = (0..16).map(|site| site % 4 >= 2).collect();
    let masked = lattice.masked(&finest);
    assert_eq!(masked[..5], [false, false, true, false, true]);
    assert_eq!(masked[14..], finest);
    let given: Vec<Option<u32>> = masked.iter().map(|masked| (!masked).then_some(0)).collect();
    let half = Plan::new(lattice.clone(), &order, &given, Schedule::Scales, Given::InPlace).expect("plan");
    assert_eq!(half.visits[0].told, [Site(0)]);
    assert_eq!(half.visits[0].sites.len(), 4);
    assert_eq!(half.made_by(0).collect::<Vec<_>>(), [Site(2), Site(4)]);
    assert_eq!(lattice.cell(Site(13)), Some((Grid::new(3, 3), 2, 2)));
    assert_eq!((lattice.scale_of(Site(29)), lattice.scale_of(Site(30)), lattice.cell(Site(30))), (3, 4, None));
}

#[test]
fn plans_refuse_what_is_not_an_order() {
    let lattice = || Lattice::grid(2, 2);
    let plan =
        |order: &[u32], given: [Option<u32>; 4]| Plan::new(lattice(), order, &given, Schedule::OneByOne, Given::First);
    assert!(plan(&[0, 1, 2, 3], [None; 4]).is_ok());
    for order in [&[0, 1, 2][..], &[0, 1, 2, 2], &[0, 1, 2, 4], &[]] {
        assert!(plan(order, [None; 4]).is_err(), "{order:?}");
    }
    assert!(plan(&[0, 1, 2, 3], [Some(1); 4]).is_err(), "nothing to make");
    let half = plan(&[3, 1, 0, 2], [None, Some(7), None, Some(9)]).expect("plan");
    assert_eq!(half.given_tokens().collect::<Vec<_>>(), [(Site(1), 7), (Site(3), 9)]);
    assert_eq!(half.visits[0].told, [Site(3), Site(1)], "given tokens are told in the order's sequence");
    assert_eq!(half.masked(), 2);
}

#[test]
fn guidance_runs_as_published() {
    let at = |known, factor, scale| Moment { known, total: 8, scale, scales: 5, factor };
    let linear = Guidance::Linear { start: 4.0, end: 1.0 };
    assert!(!linear.is_on(), "the gate looks at the end");
    let interval = Guidance::Constant { scale: 3.0, until: Some(1) };
    assert_eq!([0, 1, 2, 3].map(|known| interval.scale(&at(known, 0, 0))), [3.0, 3.0, 3.0, 1.0]);
    let constant = Guidance::PowerCosine { scale: 4.0, power: 0.0 };
    assert_eq!([0, 7].map(|known| constant.scale(&at(known, 0, 0))), [4.0, 4.0], "0 to the power of 0 is 1");
    let late = Guidance::PowerCosine { scale: 4.0, power: 2.0 };
    assert_eq!(late.scale(&at(0, 0, 0)), 1.0);
    assert!(!Guidance::PowerCosine { scale: 0.0, power: 2.0 }.is_on());
    let scales = Guidance::Scales { scale: 1.5 };
    assert_eq!([0, 2, 4].map(|scale| scales.scale(&at(0, 0, scale))), [1.0, 1.75, 2.5]);
    let factors = Guidance::Factors { scales: [1.9, 2.0] };
    assert_eq!([0, 1].map(|factor| factors.scale(&at(0, factor, 0))), [1.9, 2.0]);
    for guidance in [linear, interval, late, scales, factors] {
        assert_eq!(guidance.with_strength(2.5).strength(), 2.5);
        let json = serde_json::to_string(&guidance).expect("writes");
        assert_eq!(serde_json::from_str::<Guidance>(&json).expect("reads"), guidance);
    }
}

fn request(picture: Picture, mask: Mask, class: u32, seed: u64) -> Request {
    let knobs = Knobs { class, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed };
    let schedule = Schedule::Cosine { steps: 40 };
    Request {
        picture,
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::default(),
        order: "random".into(),
        order_seed: seed,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule,
        knobs,
    }
}

#[test]
fn bundled_models_are_what_their_cards_say() {
    for bundled in &MODELS {
        let model = bundled.load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
        let id = &model.card.id;
        assert_eq!(model.card.subjects, (0..scenes::CLASSES).map(scenes::class_name).collect::<Vec<_>>(), "{id}");
        assert_eq!(model.card.parameters, model.network.spec().parameters, "{id}");
        assert_eq!(model.card.side as usize, model.card.grid * model.tokenizer.stride(), "{id}");
        assert_eq!((model.card.side, model.card.grid), (256, 16), "{id}");
    }
    let ids: BTreeSet<_> = MODELS.iter().map(|bundled| bundled.card().expect("a card").id).collect();
    assert_eq!(ids.len(), MODELS.len(), "each has a name of its own");
}

/// All that comes with the program, models for comparison included.
#[test]
fn bundled_models_are_at_most_64_mebibytes_together() {
    fn size(path: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
        // Where models are trained in place, their runs lie beside them.
        let entries = entries.filter(|path| !path.ends_with("andamento-run"));
        entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().expect("a file").len() }).sum()
    }
    let all = size(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models"));
    assert!((1 << 20..64 << 20).contains(&all), "{:.1} MiB", all as f64 / f64::from(1 << 20));
}

/// Held-out scenes come back through the bundled tokenizer about as faithfully as its card says.
#[test]
fn the_bundled_tokenizer_is_as_good_as_its_card_says() {
    let model = MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
    let (lattice, device) = (model.lattice(), model.tokenizer.device());
    let (mut decibels, mut used) = (0.0, BTreeSet::new());
    let scenes = 2 * scenes::CLASSES;
    for number in 0..scenes {
        let scene = scenes::scene(number % scenes::CLASSES, HELD_OUT + number as u64, model.card.side);
        let tokens = model.tokenizer.encode(to_samples(&scene, device)).expect("encodes");
        let again = model.tokenizer.decode(&lattice, &tokens).and_then(to_picture).expect("decodes");
        let off =
            scene.as_raw().iter().zip(again.as_raw()).map(|(a, b)| f64::from(i32::from(*a) - i32::from(*b)).powi(2));
        decibels += 10.0 * (255.0f64.powi(2) / (off.sum::<f64>() / scene.as_raw().len() as f64)).log10();
        used.extend(tokens);
    }
    let (psnr, codes) = (decibels / scenes as f64, used.len() as f64 / model.tokenizer.codes() as f64);
    println!("{psnr:.2} dB, {:.0} % of the codes", codes * 100.0);
    assert!(psnr >= 23.0, "{psnr:.2} dB");
    assert!(codes >= 0.7, "{:.0} % of the codes", codes * 100.0);
}

/// A hole in the middle of held-out scenes is filled nearer to the truth than by the surroundings' mean colour.
#[test]
fn the_bundled_model_fills_a_hole_with_landscape() {
    let mut model = MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
    let side = model.card.side;
    let hole = Rect::new(i64::from(side / 4), i64::from(side / 4), side / 2, side / 2);
    let (mut ours, mut flat) = (0.0, 0.0);
    for class in (0..scenes::CLASSES as u32).step_by(3) {
        let scene = scenes::scene(class as usize, HELD_OUT + u64::from(class), side);
        let mut mask = Mask::new(side, side);
        mask.fill_rect(hole, 255);
        let request = request(Picture::new(scene.clone().into()), mask.clone(), class, 1);
        let done = paint(&mut model, &request, &[]).expect("starts").find_map(|event| match event.expect("goes on") {
            Event::Done(picture) => Some(picture.to_rgb8()),
            _ => None,
        });
        let done = done.expect("ends");
        let outside: Vec<_> = scene.enumerate_pixels().filter(|(x, y, _)| mask.get(*x, *y) == 0).collect();
        let mean =
            [0, 1, 2].map(|c| outside.iter().map(|(_, _, p)| f64::from(p.0[c])).sum::<f64>() / outside.len() as f64);
        for (x, y, truth) in scene.enumerate_pixels().filter(|(x, y, _)| mask.get(*x, *y) > 0) {
            for (c, mean) in mean.iter().enumerate() {
                let truth = f64::from(truth.0[c]);
                ours += (f64::from(done.get_pixel(x, y).0[c]) - truth).powi(2);
                flat += (mean - truth).powi(2);
            }
        }
    }
    println!("squared error in the hole: {:.2} of that of the mean colour", ours / flat);
    assert!(ours < flat, "the hole is filled worse than by one colour: {:.2}", ours / flat);
}
