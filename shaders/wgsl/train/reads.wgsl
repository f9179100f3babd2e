// A convolution's sizes. Its places, row by row, lie in `strips` runs of `strip` each.
struct Call {
    batch: u32,
    channels: u32,
    height: u32,
    width: u32,
    rows: u32, // of the kernel
    columns: u32,
    stride: u32,
    top: u32, // zeros above and on the left
    left: u32,
    out_width: u32,
    strips: u32,
    strip: u32,
}
