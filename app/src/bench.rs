//! `andamento bench`: how fast a family and size is on a device, with random weights, beside what the device can do.

use std::time::Instant;

use andamento_model::bench;
use andamento_model::decode::{Decoding, Knobs};
use andamento_model::device::{self, DeviceChoice};
use andamento_model::library::{self, Card, MODELS};
use andamento_model::plan::Plan;
use andamento_model::sample::Sampling;
use andamento_model::{Error, Result};
use andamento_model::{networks, order};
use clap::Args;
use serde_json::json;
use std::sync::Arc;

use crate::cli::describe;

/// Measure a family and size.
#[derive(Debug, Args)]
pub struct Options {
    /// The family, such as RandAR.
    #[arg(long, default_value = "randar")]
    family: String,
    /// The size: bundled, or a published one such as L.
    #[arg(long, default_value = "bundled")]
    size: String,
    /// Steps for a whole picture.
    #[arg(long, default_value_t = 88)]
    steps: usize,
    /// Guidance; 1 halves the work.
    #[arg(long, default_value_t = 4.0)]
    cfg: f32,
    /// Stop after about this many seconds and reckon the rest from the steps made.
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
}

/// The bundled model of a family.
fn of_family(family: &str) -> Result<Card> {
    let cards: Vec<Card> = MODELS.iter().map(library::Bundled::card).collect::<Result<_>>()?;
    let found = cards.into_iter().find(|card| card.family.eq_ignore_ascii_case(family));
    found.ok_or_else(|| {
        Error::control("--size", format!("no {family} is bundled"), "Name a published size; --help lists the families")
    })
}

/// Measures and prints.
///
/// # Errors
/// If the size does not exist or the device fails.
pub fn run(options: &Options, choice: DeviceChoice, as_json: bool) -> Result<()> {
    let bundled = options.size.eq_ignore_ascii_case("bundled");
    let card = if bundled { of_family(&options.family)? } else { Card::published(&options.family, &options.size)? };
    let chosen = device::choose(choice)?;
    eprintln!("{}", describe(&chosen));
    let on = &chosen.device;
    let failed = |error: String| Error::device(&chosen.name, error, "Try a smaller size or --device cpu");
    let sync = || on.sync().map_err(|error| failed(error.to_string()));

    let copy = bench::copy_bytes_per_second(&chosen)?;
    let product = bench::operations_per_second(on)?;

    eprintln!("making random weights of {} {} …", options.family, options.size);
    let model = library::random(card, chosen.clone())?;
    let (mut network, tokenizer) = (model.network, model.tokenizer);
    let (lattice, abilities) = (network.spec().lattice.clone(), network.spec().abilities);
    let order = order::arrange(abilities.orders.native(), &lattice, 0)?;
    let schedule = abilities.schedule(Some(options.steps.max(1)));
    let when = abilities.orders.given(abilities.orders.native());
    let plan = Arc::new(Plan::new(lattice.clone(), &order, &vec![None; lattice.len()], schedule, when)?);
    let guidance = model.card.defaults.guidance.with_strength(options.cfg);
    let knobs = Knobs { class: 0, guidance, sampling: Sampling::default(), seed: 0 };
    let streams = if guidance.is_on() { 2 } else { 1 };
    let cost_of = networks::by_name(&model.card.family)?.cost;
    sync()?;

    let started = Instant::now();
    let first = Decoding::start(network.as_mut(), plan.clone(), knobs, &[])?.next();
    first.transpose()?;
    let first_step = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let (mut times, mut tokens, mut cost) = (Vec::new(), 0, bench::Cost::default());
    let mut decoding = Decoding::start(network.as_mut(), plan.clone(), knobs, &[])?;
    while started.elapsed().as_secs_f64() < options.seconds {
        let step_started = Instant::now();
        let Some(step) = decoding.next().transpose()? else { break };
        times.push(step_started.elapsed().as_secs_f64());
        cost.add(cost_of(&model.card.network, &plan, step.index, streams)?);
        tokens += step.made.len();
    }
    let spent: f64 = times.iter().sum();
    let whole = times.len() == plan.visits.len();
    let network_seconds = if whole { spent } else { spent / tokens as f64 * plan.masked() as f64 };

    let decode = || -> Result<f64> {
        let started = Instant::now();
        let samples = tokenizer.decode(&plan.lattice, &vec![0; plan.lattice.len()])?;
        samples.try_into_vec_as::<f32>().map_err(|error| failed(error.to_string()))?;
        Ok(started.elapsed().as_secs_f64())
    };
    let first_preview = decode()?;
    let preview = decode()?.min(decode()?);

    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let per_picture = network_seconds + preview;
    let report = json!({
        "family": options.family, "size": options.size, "parameters": network.spec().parameters,
        "device": chosen.name, "reason": chosen.reason, "steps": plan.visits.len(), "steps_measured": times.len(),
        "ms_per_step_mean": spent / times.len().max(1) as f64 * 1e3, "ms_per_step_median": median * 1e3,
        "first_step_ms": first_step * 1e3, "tokens_per_second": tokens as f64 / spent,
        "pictures_per_second": 1.0 / per_picture, "seconds_per_picture": per_picture,
        "bytes_per_second": cost.bytes / spent, "copy_bytes_per_second": copy, "of_copy": cost.bytes / spent / copy,
        "operations_per_second": cost.operations / spent, "product_operations_per_second": product,
        "of_product": cost.operations / spent / product,
        "preview_ms": preview * 1e3, "first_preview_ms": first_preview * 1e3,
    });
    if as_json {
        println!("{report:#}");
        return Ok(());
    }
    let row = |name: &str, value: String| println!("{name:<28} {value}");
    row(
        "model",
        format!(
            "{} {}, {:.1} M parameters, random weights",
            options.family,
            options.size,
            network.spec().parameters as f64 / 1e6
        ),
    );
    row("steps", format!("{} measured of {}, {} tokens", times.len(), plan.visits.len(), tokens));
    row("step", format!("{:.1} ms mean, {:.1} ms median", spent / times.len().max(1) as f64 * 1e3, median * 1e3));
    row("first step", format!("{:.1} ms", first_step * 1e3));
    row("tokens", format!("{:.1} /s", tokens as f64 / spent));
    row(
        "picture",
        format!("{per_picture:.2} s, {:.3} /s{}", 1.0 / per_picture, if whole { "" } else { " (reckoned)" }),
    );
    row(
        "bytes",
        format!(
            "{:.2} GB/s, {:.0} % of a copy's {:.2} GB/s",
            cost.bytes / spent / 1e9,
            cost.bytes / spent / copy * 100.0,
            copy / 1e9
        ),
    );
    row(
        "operations",
        format!(
            "{:.1} GFLOP/s, {:.0} % of a product's {:.1} GFLOP/s",
            cost.operations / spent / 1e9,
            cost.operations / spent / product * 100.0,
            product / 1e9
        ),
    );
    row("preview (full decode)", format!("{:.1} ms, the first {:.1} ms", preview * 1e3, first_preview * 1e3));
    Ok(())
}
