fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::time::Instant::now();
    let mut n = 0;
    let device = andamento_model::device::choose(andamento_model::device::DeviceChoice::Cpu).unwrap().device;
    let r = andamento_model::train::train(a[1].as_ref(), a[2].as_ref(), &device, &mut |p| {
        n += p.pictures;
        if p.step % 10 == 0 || p.step < 5 {
            let s = t.elapsed().as_secs_f32();
            println!("{} {}/{} {s:.1}s {:.2}/s {:?}", p.task, p.step, p.steps, n as f32 / s, p.figures);
        }
    });
    if let Err(e) = r {
        eprintln!("{e}");
        std::process::exit(1)
    }
}
