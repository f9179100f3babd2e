//! The kernels of training on the processor against plain tensor operations: results and gradients.

use std::slice::from_ref;

use andamento_model::kernels;
use burn::nn::{GroupNormConfig, RmsNormConfig};
use burn::prelude::*;
use burn::tensor::activation::{gelu, log_softmax, silu, softmax};
use burn::tensor::{Distribution, Int, Tensor};

fn device() -> Device {
    let device = Device::flex().autodiff();
    device.seed(7);
    device
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device).require_grad()
}

/// Fails unless both are the same to a relative error of `2e-4` of the largest number.
fn check<const D: usize>(what: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(got.dims(), want.dims(), "{what}: shape");
    let largest = want.clone().abs().max().into_scalar::<f32>();
    let error = (got - want).abs().max().into_scalar::<f32>();
    assert!(error <= 2e-4 * largest.max(1e-3), "{what}: an error of {error} where the largest number is {largest}");
}

/// Compares results, and the gradients of `inputs` under a loss that weights each number differently.
fn compare<const D: usize, const E: usize>(what: &str, inputs: &[Tensor<D>], got: Tensor<E>, want: Tensor<E>) {
    let weights = Tensor::random(want.dims(), Distribution::Normal(0.0, 1.0), &want.device());
    check(what, got.clone().detach(), want.clone().detach());
    let (got, want) = ((got * weights.clone()).sum().backward(), (want * weights).sum().backward());
    for (index, input) in inputs.iter().enumerate() {
        let (Some(got), Some(want)) = (input.grad(&got), input.grad(&want)) else {
            panic!("{what}: input {index} has no gradient");
        };
        check(&format!("{what}: gradient {index}"), got, want);
    }
}

/// 0 where a query sees, -1e30 elsewhere; query `i` sees the first `seen(i)` keys.
fn mask(queries: usize, keys: usize, seen: impl Fn(usize) -> usize, device: &Device) -> Tensor<4> {
    let values = (0..queries * keys).map(|at| if at % keys < seen(at / keys) { 0.0f32 } else { -1e30 });
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), [1, 1, queries, keys]), device)
}

#[test]
fn attention() {
    let device = device();
    for (batch, heads, queries, keys, head_dim) in
        [(1, 1, 1, 1, 4), (2, 3, 7, 7, 8), (2, 1, 129, 129, 64), (1, 2, 257, 257, 64), (1, 2, 300, 310, 32)]
    {
        let what = format!("{batch} × {heads} heads × {queries} queries × {keys} keys × {head_dim}");
        let masks = [
            ("causal", mask(queries, keys, |query| query + 1, &device)),
            ("scales", mask(queries, keys, |query| (query / 40 * 40 + 40).min(keys), &device)),
            ("all", mask(queries, keys, |_| keys, &device)),
        ];
        for (name, mask) in masks {
            let [q, k, v] = [queries, keys, keys].map(|rows| normal([batch, heads, rows, head_dim], &device));
            let inputs = [&q, &k, &v].map(Tensor::clone);
            let got = kernels::attention(inputs.clone(), &mask, 0.0);
            compare(&format!("{what}, {name}"), &inputs, got, kernels::plain_attention(inputs.clone(), &mask, 0.0));
        }
    }
}

#[test]
fn attention_of_views() {
    let device = device();
    let qkv = normal([2, 50, 3 * 2 * 16], &device);
    let heads = |part: usize| {
        let x = qkv.clone().slice([0..2, 0..50, part * 32..(part + 1) * 32]);
        x.reshape([2, 50, 2, 16]).swap_dims(1, 2)
    };
    let mask = mask(50, 50, |query| query + 1, &device);
    let (got, want) = ([heads(0), heads(1), heads(2)], [heads(0), heads(1), heads(2)]);
    let got = kernels::attention(got, &mask, 0.0);
    compare("views", from_ref(&qkv), got, kernels::plain_attention(want, &mask, 0.0));
}

/// Where the values are the identity the result is the weights themselves, and shows which of them were dropped: the plain
/// reference drops the same.
#[test]
fn attention_drops_the_same_weights_forward_and_backward() {
    let device = device();
    let (rows, share) = (200, 0.3);
    let [q, k] = [(); 2].map(|()| normal([1, 2, rows, rows], &device));
    let identity: Tensor<4> = Tensor::<2>::eye(rows, &device).unsqueeze();
    let v = identity.expand([1, 2, rows, rows]).require_grad();
    let everything = mask(rows, rows, |_| rows, &device);
    let inputs = [&q, &k, &v].map(Tensor::clone);
    let got = kernels::attention(inputs.clone(), &everything, share);
    let kept = got.clone().detach().greater_elem(0.0).float();
    let dropped = 1.0 - kept.clone().mean().into_scalar::<f32>();
    assert!((dropped - share as f32).abs() < 0.02, "a share of {dropped} was dropped");
    let scores = (q.clone() / (rows as f32).sqrt()).matmul(k.clone().swap_dims(2, 3));
    let weights = softmax(scores, 3) * kept / (1.0 - share);
    compare("dropout", &inputs, got, weights.matmul(v));
}

#[test]
fn short_attention() {
    let device = device();
    for (sequences, heads, queries, slots, head_dim) in [(1, 1, 1, 1, 4), (150, 2, 1, 5, 16), (70, 3, 4, 5, 20)] {
        let what = format!("{sequences} × {heads} heads × {queries} queries × {slots} slots × {head_dim}");
        let seen = (0..sequences * slots).map(|at| if at % 7 == 1 && slots > 1 { -1e30f32 } else { 0.0 });
        let mask = Tensor::from_data(TensorData::new(seen.collect::<Vec<_>>(), [sequences, slots]), &device);
        let [q, k, v] = [queries, slots, slots].map(|rows| normal([sequences, rows, heads * head_dim], &device));
        let inputs = [&q, &k, &v].map(Tensor::clone);
        let got = kernels::short_attention(inputs.clone(), heads, mask.clone());
        compare(&what, &inputs, got, kernels::plain_short_attention(inputs.clone(), heads, mask));
    }
}

#[test]
fn gelus() {
    let device = device();
    let x = Tensor::<1>::from_data((-1200..1200).map(|x| x as f32 / 100.0).collect::<Vec<_>>().as_slice(), &device);
    let x = x.reshape([2, 30, 40]).require_grad();
    let far = (kernels::gelu(x.clone()) - gelu(x.clone())).abs().max().into_scalar::<f32>();
    assert!(far < 1e-6, "an error of {far}");
    compare("gelu", from_ref(&x), kernels::gelu(x.clone()), gelu(x.clone()));
    let inner = (x.clone() * x.clone() * x.clone() * 0.044_715 + x.clone()) * (2.0 / std::f64::consts::PI).sqrt();
    let want = x.clone() * 0.5 * (inner.tanh() + 1.0);
    compare("gelu by tanh", from_ref(&x), kernels::gelu_tanh(x.clone()), want);
}

#[test]
fn convolution() {
    let device = device();
    for (batch, inputs, outputs, height, width, side, stride, padding) in [
        (1, 1, 1, 1, 1, 1, 1, [0; 4]),
        (2, 3, 5, 7, 9, 3, 1, [1; 4]),
        (2, 9, 17, 16, 16, 3, 1, [1; 4]),
        (1, 4, 3, 40, 33, 1, 1, [0; 4]),
        (2, 8, 8, 16, 12, 3, 2, [0, 0, 1, 1]),
        (2, 5, 6, 15, 17, 3, 2, [1; 4]),
        (1, 2, 3, 12, 11, 4, 2, [1; 4]),
        (1, 3, 2, 14, 14, 5, 3, [2; 4]),
        (1, 3, 2, 9, 9, 7, 1, [3; 4]),
    ] {
        let what = format!("{batch} × {inputs} → {outputs}, {height} × {width}, {side}² / {stride}, {padding:?}");
        let x = normal([batch, inputs, height, width], &device);
        let weight = normal([outputs, inputs, side, side], &device);
        let pair = [x.clone(), weight.clone()];
        let got = kernels::conv2d(x.clone(), weight.clone(), stride, padding);
        compare(&what, &pair, got, kernels::plain_conv2d(x.clone(), weight.clone(), stride, padding));
        let got = kernels::unfolded_conv2d(x.clone(), weight.clone(), stride, padding);
        compare(&what, &pair, got, kernels::plain_conv2d(x.clone(), weight.clone(), stride, padding));
        let got = kernels::conv2d(x.clone().inner(), weight.clone().inner(), stride, padding);
        check(&what, got, kernels::plain_conv2d(x.inner(), weight.inner(), stride, padding));
    }
}

#[test]
fn norms() {
    let device = device();
    for (batch, channels, groups, height, width) in [(1, 2, 1, 1, 3), (2, 32, 32, 5, 7), (3, 64, 32, 16, 16)] {
        let mut norm = GroupNormConfig::new(groups, channels).with_epsilon(1e-6).init(&device);
        let (gamma, beta) = (normal([channels], &device), normal([channels], &device));
        norm.gamma = Some(burn::module::Param::from_tensor(gamma.detach()));
        norm.beta = Some(burn::module::Param::from_tensor(beta.detach()));
        let affine = [&norm.gamma, &norm.beta].map(|x| x.as_ref().expect("set above").val());
        let x = normal([batch, channels, height, width], &device);
        let what = format!("{channels} channels in {groups} groups");
        for by in [kernels::group_norm_silu, kernels::folded_group_norm_silu] {
            compare(&what, from_ref(&x), by(&norm, x.clone()), silu(norm.forward(x.clone())));
            compare(&what, &affine, by(&norm, x.clone()), silu(norm.forward(x.clone())));
        }
    }
    let [gamma, beta] = [(); 2].map(|()| normal([24], &device));
    let x = normal([3, 2, 70, 24], &device) + 0.5;
    let layer_norm =
        |x: &Tensor<4>| burn::tensor::module::layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-6);
    let got = |x: &Tensor<4>| kernels::layer_normed(x.clone(), gamma.clone(), Some(beta.clone()), 1e-6);
    let x = x.detach().require_grad();
    compare("layer", from_ref(&x), got(&x), layer_norm(&x));
    compare("layer", &[gamma.clone(), beta.clone()], got(&x), layer_norm(&x));
    let mut norm = RmsNormConfig::new(24).with_epsilon(1e-5).init(&device);
    norm.gamma = burn::module::Param::from_tensor(normal([24], &device).detach());
    let x = normal([3, 70, 24], &device);
    compare("rms", from_ref(&x), kernels::rms_normed(&norm, x.clone()), norm.forward(x.clone()));
    compare("rms", &[norm.gamma.val()], kernels::rms_normed(&norm, x.clone()), norm.forward(x));
}

#[test]
fn swiglu_and_cross_entropy() {
    let device = device();
    let [gate, x] = [(); 2].map(|()| normal([2, 30, 41], &device));
    let pair = [gate.clone(), x.clone()];
    compare("swiglu", &pair, kernels::swiglu(gate.clone(), x.clone()), silu(gate) * x);

    let logits = normal([2, 30, 301], &device);
    let targets = Tensor::<1, Int>::arange(0..60, &device).reshape([2, 30]) * 5;
    let want = log_softmax(logits.clone(), 2).gather(2, targets.clone().unsqueeze_dim(2)).mean().neg();
    compare("cross entropy", from_ref(&logits), kernels::cross_entropy(logits.clone(), targets.clone()), want);
    let weights = [0.0, 2.0, 1.0];
    let shares = Tensor::<1>::from_data(weights, &device).repeat_dim(0, 20).reshape([2, 30, 1]) / 60.0;
    let want = (log_softmax(logits.clone(), 2).gather(2, targets.clone().unsqueeze_dim(2)) * shares).sum().neg();
    let got = kernels::weighted_cross_entropy(logits.clone(), targets, &weights);
    compare("weighted cross entropy", from_ref(&logits), got, want);
}
