//! `andamento doctor`: what there is to compute with, what was chosen, and whether it computes rightly.

use std::time::Instant;

use andamento_model::device::{self, DeviceChoice};
use andamento_model::library::fit::Memory;
use andamento_model::{Error, Result, library, self_test};
use serde_json::json;

/// Prints the report.
///
/// # Errors
/// If the device that was asked for does not exist, fails, or computes wrongly.
pub fn run(choice: DeviceChoice, as_json: bool) -> Result<()> {
    let adapters = device::adapters();
    let chosen = device::choose(choice)?;
    let started = Instant::now();
    let outcome = self_test::run(&chosen.device)?;
    let seconds = started.elapsed().as_secs_f64();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut models = Vec::new();
    for model in &library::MODELS {
        let loads = model.load(chosen.clone()).map(|model| model.network.spec().parameters);
        models.push((model.card()?.id, model.hash(), loads));
    }
    if as_json {
        let adapters = adapters.iter().enumerate().map(|(number, adapter)| {
            json!({ "device": format!("wgpu:{number}"), "name": adapter.name, "backend": adapter.backend, "software": adapter.software, "memory": Memory::of(&adapter.place()).map(|memory| memory.all) })
        });
        let models = models.iter().map(|(id, hash, loads)| {
            json!({ "id": id, "hash": hash, "parameters": loads.as_ref().ok(), "error": loads.as_ref().err().map(ToString::to_string) })
        });
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"), "adapters": adapters.collect::<Vec<_>>(), "threads": threads,
            "device": chosen.name, "reason": chosen.reason, "models": models.collect::<Vec<_>>(),
            "self_test": { "passed": outcome.passed(), "right": outcome.right, "of": outcome.of, "logits_off": outcome.logits_off, "seconds": seconds },
        });
        println!("{report:#}");
    } else {
        println!("Andamento {}", env!("CARGO_PKG_VERSION"));
        println!("processor: {threads} threads");
        if adapters.is_empty() {
            println!("adapters: none");
        }
        for (number, adapter) in adapters.iter().enumerate() {
            let kind = if adapter.software { "software" } else { "GPU" };
            let memory = match Memory::of(&adapter.place()) {
                Some(memory) => format!("{:.1} GB", memory.all as f64 / 1e9),
                None => "how much memory it has is not known".into(),
            };
            println!("adapter wgpu:{number}: {} · {} ({kind}, {memory})", adapter.backend, adapter.name);
        }
        println!("device: {}: {}", chosen.name, chosen.reason);
        for (id, hash, loads) in &models {
            match loads {
                Ok(parameters) => println!("model {id}: {:.1} M parameters, weights {hash}", *parameters as f64 / 1e6),
                Err(error) => println!("model {id}: {error}"),
            }
        }
        println!(
            "self-test: {} of {} tokens as published, logits within {:.0e}, {seconds:.1} s",
            outcome.right, outcome.of, outcome.logits_off
        );
    }
    if let Some((id, _, Err(error))) = models.into_iter().find(|(_, _, loads)| loads.is_err()) {
        return Err(Error::device(chosen.name, format!("{id} does not load: {error}"), "Install Andamento again"));
    }
    if !outcome.passed() {
        return Err(Error::device(
            chosen.name,
            "the self-test failed: this device computes wrongly",
            "Use --device cpu",
        ));
    }
    Ok(())
}
