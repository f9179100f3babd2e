struct Call {
    rows: u32,
    width: u32,
    parts: u32, // that the rows are summed in, for the gradients of scale and shift
    centred: u32, // whether the mean is taken away
    shifted: u32, // whether there is a shift
    epsilon: f32,
}
