//! Properties of orders, schedules, plans and runs, and what must be true of the bundled model.

use andamento_model::decode::Knobs;
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::lattice::{Grid, Lattice};
use andamento_model::library::MODELS;
use andamento_model::order::ORDERS;
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::plan::Plan;
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
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
fn schedules_visit_all_and_cost_follows_the_mask() {
    for total in [1, 16, 255, 256, 1024] {
        for masked in [1, total / 10, total / 2, total] {
            for schedule in
                [1, 2, 7, 88, 256, 2000].map(|steps| Schedule::Cosine { steps }).into_iter().chain([Schedule::OneByOne])
            {
                let visits = schedule.visits(masked, total);
                assert_eq!(visits.iter().sum::<usize>(), masked, "{schedule:?} of {masked} in {total}");
                assert!(!visits.contains(&0));
            }
        }
    }
    let schedule = Schedule::Cosine { steps: 88 };
    assert!(schedule.visits(26, 256).len() * 4 < schedule.visits(256, 256).len() * 3 / 2);
}

#[test]
fn plans_refuse_what_is_not_an_order() {
    let lattice = || Lattice::grid(2, 2);
    let plan = |order: &[u32], given: [Option<u32>; 4]| Plan::new(lattice(), order, &given, Schedule::OneByOne);
    assert!(plan(&[0, 1, 2, 3], [None; 4]).is_ok());
    for order in [&[0, 1, 2][..], &[0, 1, 2, 2], &[0, 1, 2, 4], &[]] {
        assert!(plan(order, [None; 4]).is_err(), "{order:?}");
    }
    assert!(plan(&[0, 1, 2, 3], [Some(1); 4]).is_err(), "nothing to make");
    let half = plan(&[3, 1, 0, 2], [None, Some(7), None, Some(9)]).expect("plan");
    assert_eq!(half.given.iter().map(|(site, token)| (site.0, *token)).collect::<Vec<_>>(), [(3, 9), (1, 7)]);
    assert_eq!(half.masked(), 2);
}

fn request(picture: Picture, mask: Mask, class: u32, seed: u64) -> Request {
    let knobs = Knobs { class, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed };
    let schedule = Schedule::Cosine { steps: 40 };
    Request { picture, mask, frame: None, order: "random".into(), order_seed: seed, schedule, knobs }
}

#[test]
fn the_bundled_model_is_what_its_card_says() {
    let bundled = &MODELS[0];
    let model = bundled.load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
    assert_eq!(model.card.subjects, (0..scenes::CLASSES).map(scenes::class_name).collect::<Vec<_>>());
    assert_eq!(model.card.parameters, model.network.spec().parameters);
    assert_eq!(model.card.side as usize, model.card.grid * model.tokenizer.stride());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    let size = |name: &str| std::fs::metadata(folder.join(name).join("weights.safetensors")).expect("weights").len();
    assert!(size("scenes-vq") + size("scenes-randar") < 24 << 20, "the bundled pair is too large");
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
