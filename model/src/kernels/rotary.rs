//! Rotary embeddings (Su et al., arXiv 2104.09864).

use andamento_shaders::train as gpu;
use burn::tensor::Tensor;

use super::{differentiable_on_gpu, primitive, tracked_on_gpu, without_gradients};

/// Turns `x`, `[batch, heads, slots, head_dim]`, each adjacent pair by its slot's angle; in f32, as published. `angles` are
/// cosines and sines, `[batch, 1, slots, head_dim]`, each written twice for its pair; `quarter_turn` maps `(x0, x1)` to
/// `(-x1, x0)` for every pair, as a product from the right: `[head_dim, head_dim]`.
pub fn rotated(x: Tensor<4>, angles: [&Tensor<4>; 2], quarter_turn: &Tensor<2>) -> Tensor<4> {
    if let Some((x, node)) = tracked_on_gpu(&x) {
        let angles = angles.map(without_gradients);
        let out = gpu::rotate(x, angles.clone(), false);
        return differentiable_on_gpu([node], out, move |grad| [primitive(gpu::rotate(grad, angles.clone(), true))]);
    }
    andamento_shaders::reference::rotated(x, angles, quarter_turn)
}
