//! The procedural scenes.

use std::collections::BTreeSet;

use andamento_model::train::scenes::{CLASSES, class_name, scene};

#[test]
fn a_scene_is_a_function_of_class_and_seed() {
    for class in [0, 7, 14, 23] {
        assert_eq!(scene(class, 5, 64), scene(class, 5, 64));
        assert_ne!(scene(class, 5, 64), scene(class, 6, 64));
    }
}

#[test]
fn every_class_has_its_own_picture_and_name() {
    let pictures: BTreeSet<_> = (0..CLASSES).map(|class| scene(class, 1, 64).into_raw()).collect();
    let names: BTreeSet<_> = (0..CLASSES).map(class_name).collect();
    assert_eq!((pictures.len(), names.len()), (CLASSES, CLASSES));
    assert!(pictures.iter().all(|bytes| bytes.len() == 64 * 64 * 3));
    assert_eq!(class_name(2), "alpine lake, dusk");
}
