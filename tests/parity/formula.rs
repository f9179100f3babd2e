//! The formula behind the `real_size` goldens, on the probe values of their README.

use andamento_tests::formula::{uniform, values};

#[test]
fn the_formula_gives_the_probe_values() {
    let probes: [(&str, &[usize], [f64; 3], f64); 7] = [
        (
            "encoder.conv_in.weight",
            &[160, 3, 3, 3],
            [-0.0360102653503418, -0.1041276827454567, -0.19684123992919922],
            0.2170194387435913,
        ),
        (
            "encoder.conv_in.bias",
            &[160],
            [0.024416904896497726, 0.04625505954027176, -0.0355469174683094],
            -0.047533415257930756,
        ),
        (
            "quantize.embedding.weight",
            &[4096, 32],
            [-0.04706692695617676, -0.16682666540145874, 0.22116494178771973],
            -0.06585246324539185,
        ),
        (
            "blocks.3.attn.scale_mul_1H11",
            &[1, 16, 1, 1],
            [1.5096315145492554, 1.7166099548339844, 1.6493438482284546],
            1.177400827407837,
        ),
        (
            "blocks.0.norm1.weight",
            &[768],
            [1.0062248706817627, 1.0854322910308838, 0.9241552948951721],
            1.0478754043579102,
        ),
        (
            "blocks.15.ffn.fc2.weight",
            &[1024, 4096],
            [-0.019402464851737022, 0.026642801240086555, -0.009173230268061161],
            -0.025546981021761894,
        ),
        (
            "pos_1LC",
            &[1, 680, 1024],
            [-0.33922845125198364, -0.4288800358772278, -0.3309340476989746],
            -0.49002957344055176,
        ),
    ];
    for (name, shape, first, last) in probes {
        let values: Vec<f32> = values(name, shape).collect();
        assert_eq!(values[..3], first.map(|value| value as f32), "{name}");
        assert_eq!(values.last(), Some(&(last as f32)), "{name}");
    }
    let inputs: Vec<f64> = uniform("input.rar.ids", 3).collect();
    assert_eq!(inputs, [0.1583235263824463, 0.00027674436569213867, 0.40757477283477783]);
}
