//! RAR's randomness annealing (Eq. 5) and the orders of its training.

use andamento_model::lattice::Grid;
use andamento_model::networks::rar::Scan;
use andamento_model::order::{ORDERS, SCALES};
use andamento_model::train::rar::{Options, order};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn annealed(anneal_start: f64, anneal_end: f64) -> Options {
    Options { anneal_start, anneal_end, ..Options::default() }
}

proptest! {
    #[test]
    fn randomness_falls_from_one_to_nothing(start in 0.0..1.0f64, length in 0.0..1.0f64, steps in 1usize..400) {
        let end = start + length * (1.0 - start);
        let options = annealed(start, end);
        let all: Vec<f64> = (0..steps).map(|step| options.randomness(step, steps)).collect();
        for (step, r) in all.iter().enumerate() {
            let at = step as f64;
            prop_assert!((0.0..=1.0).contains(r), "{} at step {}", r, step);
            prop_assert!(at >= start * steps as f64 || *r == 1.0, "{} before the start", r);
            prop_assert!(at < end * steps as f64 || *r == 0.0, "{} after the end", r);
        }
        prop_assert!(all.is_sorted_by(|a, b| a >= b), "it rises somewhere: {:?}", all);
    }

    #[test]
    fn orders_are_permutations_random_as_often_as_asked(seed: u64, randomness in 0.0..1.0f64, scan in 0usize..6) {
        let scan = Scan::ALL[scan].arrange(Grid::new(4, 4)).expect("a scan order");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let draws = 2000;
        let drawn: Vec<Vec<u32>> = (0..draws).map(|_| order(&scan, randomness, &mut random)).collect();
        let permuted = drawn.iter().filter(|order| **order != scan).count() as f64 / draws as f64;
        // More than five standard deviations.
        prop_assert!((permuted - randomness).abs() < 0.06, "{} in place of {}", permuted, randomness);
        for order in drawn {
            let mut sites = order;
            sites.sort_unstable();
            prop_assert!(sites.into_iter().eq(0..16));
        }
    }
}

#[test]
fn training_can_know_one_order_alone_or_none_at_all() {
    for steps in [1, 7, 250] {
        assert!((0..steps).all(|step| annealed(0.0, 0.0).randomness(step, steps) == 0.0), "the first row of table 2");
        assert!((0..steps).all(|step| annealed(1.0, 1.0).randomness(step, steps) == 1.0), "its last row");
    }
    let scan = Scan::SpiralIn.arrange(Grid::new(3, 5)).expect("a scan order");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    assert!((0..100).all(|_| order(&scan, 0.0, &mut random) == scan));
    let drawn: Vec<_> = (0..100).map(|_| order(&scan, 1.0, &mut random)).collect();
    assert!(drawn.iter().all(|order| *order != scan) && drawn.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn training_anneals_to_every_scan_order() {
    let fixed = ORDERS.iter().filter(|order| !order.random && order.name != SCALES);
    let mut fixed: Vec<_> = fixed.map(|order| order.name).collect();
    let mut scans = Scan::ALL.map(Scan::name);
    fixed.sort_unstable();
    scans.sort_unstable();
    assert_eq!(fixed, scans);
    let grid = Grid::new(4, 4);
    let arranged = Scan::ALL.map(|scan| scan.arrange(grid).expect("a scan order"));
    assert!((0..6).all(|one| (0..one).all(|other| arranged[one] != arranged[other])), "two of them are the same");
}
