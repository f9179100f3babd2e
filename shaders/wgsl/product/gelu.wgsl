
// The exact GELU, x · Φ(x). The error function is Abramowitz and Stegun's 7.1.26, to 1.5e-7.
fn activated(x: vec4<f32>) -> vec4<f32> {
    let far = abs(x) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * far);
    let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return x * (0.5 + 0.5 * sign(x) * (1.0 - series * exp(-far * far)));
}
