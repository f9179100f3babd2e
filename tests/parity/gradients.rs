//! Gradients of a whole model under the published names.

use andamento_tests::Golden;
use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, SafetensorsStore};
use burn::tensor::Gradients;

/// The gradient of every parameter of a model, in the published layout; zero where a loss does not depend on it.
pub(crate) fn gradients<M: Module>(model: M, gradients: &Gradients) -> Golden {
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter).clear_metadata();
    model.map(&mut ToGradient(gradients)).save_into(&mut store).expect("gradients can be read");
    Golden::from_bytes(&store.get_bytes().expect("gradients can be read"), "gradients")
}

struct ToGradient<'a>(&'a Gradients);

impl ModuleMapper for ToGradient<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let gradient = value.grad(self.0).unwrap_or_else(|| value.inner().zeros_like());
        Param::initialized(param.id, gradient)
    }
}
