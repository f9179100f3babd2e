//! Convolutions as products of matrices: the matrix of what they read, and its gradient.

use burn::tensor::Tensor;

use super::{Kernel, THREADS, launch, numbers, room, tensor};

/// What a convolution reads, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// Pictures, channels, rows and columns.
    pub input: [usize; 4],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Zeros above and on the left.
    pub padding: [usize; 2],
    /// Rows and columns of places; what is read beyond the input is 0.
    pub output: [usize; 2],
    /// The places, row by row, lie in so many runs of the same length.
    pub strips: usize,
}

impl Reads {
    /// The shape of the matrix: `[batch, strips, channels · rows · columns, places of a strip]`.
    pub fn shape(&self) -> [usize; 4] {
        let ([batch, channels, ..], [rows, columns], [down, across]) = (self.input, self.kernel, self.output);
        [batch, self.strips, channels * rows * columns, down * across / self.strips]
    }

    fn call(&self) -> [u32; 12] {
        let ([batch, channels, height, width], [rows, columns]) = (self.input, self.kernel);
        let ([top, left], strip) = (self.padding, self.shape()[3]);
        let of_input = [batch, channels, height, width, rows, columns];
        let of_output = [self.stride, top, left, self.output[1], self.strips, strip];
        let mut call = [0; 12];
        call.iter_mut().zip(of_input.into_iter().chain(of_output)).for_each(|(word, size)| *word = size as u32);
        call
    }
}

/// What is read of `pictures`, `[batch, channels, height, width]`, at each place: of the shape [`Reads::shape`].
///
/// # Panics
/// If the pictures have other sizes, or are not [taken here](super::runs).
pub fn unfold(pictures: Tensor<4>, reads: &Reads) -> Tensor<4> {
    assert!(pictures.dims() == reads.input, "pictures of {:?} for {reads:?}", pictures.dims());
    let pictures = numbers(pictures);
    let unfolded = room(&pictures, reads.shape());
    let count = unfolded.meta.num_elements();
    launch(Kernel::Unfold, count.div_ceil(THREADS), &[&pictures, &unfolded], &reads.call());
    tensor(unfolded)
}

/// The gradient of [`unfold`]: of the pictures, from that of the matrix.
///
/// # Panics
/// If the matrix has another shape, or is not [taken here](super::runs).
pub fn fold(unfolded: Tensor<4>, reads: &Reads) -> Tensor<4> {
    assert!(unfolded.dims() == reads.shape(), "a matrix of {:?} for {reads:?}", unfolded.dims());
    let unfolded = numbers(unfolded);
    let pictures = room(&unfolded, reads.input);
    let count = pictures.meta.num_elements();
    launch(Kernel::Fold, count.div_ceil(THREADS), &[&unfolded, &pictures], &reads.call());
    tensor(pictures)
}
