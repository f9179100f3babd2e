//! Development only.
use andamento::ui;
use andamento_model::{device, library};
fn main() {
    let picture = std::env::args().nth(1).map(Into::into);
    let start = ui::StartOptions { picture, ..Default::default() };
    let source = Box::new(|id: &str, choice| {
        let card = library::bundled(id)?.card()?;
        library::random(card, device::choose(choice)?)
    });
    ui::run_with(start, source).unwrap()
}
