
// GELU by its approximation with tanh; ½ (1 + tanh u) is 1 / (1 + e^-2u).
fn activated(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exp(-1.5957691216 * (x + 0.044715 * x * x * x)));
}
