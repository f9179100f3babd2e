//! `andamento bench`: how fast a family and size is on a device, with random weights, beside what the device can do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use andamento_model::bench::{self, Cost};
use andamento_model::decode::{Decoding, Knobs};
use andamento_model::device::{self, DeviceChoice};
use andamento_model::library::{self, Card, MODELS};
use andamento_model::network::Pace;
use andamento_model::plan::Plan;
use andamento_model::sample::Guidance;
use andamento_model::schedule::Schedule;
use andamento_model::{Error, Result};
use andamento_model::{networks, order};
use clap::Args;
use serde_json::json;

use crate::cli::{check_range, describe};

/// Measure a family and size.
#[derive(Debug, Args)]
pub struct Options {
    /// The family: RandAR, LlamaGen, RAR, VAR, Open-MAGVIT2 or TensorAR.
    #[arg(long, default_value = "RandAR", value_name = "NAME")]
    family: String,
    /// The size: `bundled`, or a published one such as L. By default the bundled one, or else the first published one.
    #[arg(long, value_name = "NAME")]
    size: Option<String>,
    /// Steps for a whole picture, where the family leaves the choice. By default as many as published.
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Guidance, in the units of the paper; off, at 1 or for VAR 0, it halves the work. By default as published.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    cfg: Option<f32>,
    /// Stop after about this many seconds and reckon the rest from the steps made.
    #[arg(long, default_value_t = 120.0, value_name = "X", allow_negative_numbers = true)]
    seconds: f64,
    /// Measure the editor's window instead: its own time per frame while one paints and pans on a large picture, idle and
    /// while the bundled model generates.
    #[arg(long)]
    pub(crate) window: bool,
    /// Width and height of that picture, in pixels.
    #[arg(long, default_value_t = 4096, value_name = "N", requires = "window")]
    pub(crate) side: u32,
}

impl Options {
    /// The card of what is measured, and the size's name.
    fn card(&self) -> Result<(Card, String)> {
        let family = networks::by_name(&self.family)?;
        let cards: Vec<Card> = MODELS.iter().map(library::Bundled::card).collect::<Result<_>>()?;
        let bundled = cards.into_iter().find(|card| card.family == family.name);
        let sizes: Vec<_> = (family.presets)().iter().map(|preset| preset.name).collect();
        match (self.size.as_deref(), bundled, sizes.first().copied()) {
            (None, Some(card), _) => Ok((card, BUNDLED.into())),
            (Some(size), Some(card), _) if size.eq_ignore_ascii_case(BUNDLED) => Ok((card, BUNDLED.into())),
            (Some(size), None, _) if size.eq_ignore_ascii_case(BUNDLED) => {
                let cause = format!("{} has no bundled model", family.name);
                Err(Error::control("--size", cause, format!("Choose one of {}", sizes.join(", "))))
            }
            (Some(size), ..) | (None, None, Some(size)) => Ok((Card::published(family.name, size)?, size.to_string())),
            (None, None, None) => Err(Error::control("--family", "it has no published size", "Choose another")),
        }
    }

    /// The settings of the run, as published where none was asked for.
    fn settings(&self, card: &Card) -> Result<(Schedule, Guidance)> {
        if self.seconds.is_nan() || self.seconds <= 0.0 {
            let cause = format!("nothing can be measured in {} s", self.seconds);
            return Err(Error::control("--seconds", cause, "Use about 10"));
        }
        let usual = card.defaults.guidance;
        let scale = self.cfg.unwrap_or(usual.strength());
        check_range("--cfg", scale, "Use 1 for no guidance, for VAR 0")?;
        let abilities = card.abilities()?;
        let schedule = abilities.schedule(Some(self.steps.unwrap_or(card.defaults.steps)));
        match (self.steps, abilities.pace) {
            (Some(0), _) => Err(Error::control("--steps", "0 steps make nothing", "Use 1 or more")),
            (Some(_), Pace::Fixed { reason, .. }) => {
                Err(Error::control("--steps", reason, format!("Leave it out: {} decides", card.family)))
            }
            _ => Ok((schedule, usual.with_strength(scale))),
        }
    }
}

/// What the size of a model is called that comes with the program.
const BUNDLED: &str = "bundled";

/// Measures and prints.
///
/// # Errors
/// If the size does not exist or the device fails.
pub fn run(options: &Options, choice: DeviceChoice, as_json: bool) -> Result<()> {
    let (card, size) = options.card()?;
    let (schedule, guidance) = options.settings(&card)?;
    let chosen = device::choose(choice)?;
    eprintln!("{}", describe(&chosen));
    let on = &chosen.device;
    let failed = |error: String| Error::device(&chosen.name, error, "Try a smaller size or --device cpu");
    let sync = || on.sync().map_err(|error| failed(error.to_string()));

    let copy = bench::copy_bytes_per_second(&chosen)?;
    let product = bench::operations_per_second(on)?;
    // The processor has no kernel of ours to compare.
    let few_rows = if chosen.gpu { bench::few_rows(on)? } else { Vec::new() };

    eprintln!("making random weights of {} {size} …", card.family);
    let model = library::random(card, chosen.clone())?;
    let (mut network, tokenizer) = (model.network, model.tokenizer);
    let (lattice, abilities) = (network.spec().lattice.clone(), network.spec().abilities);
    let order = order::arrange(abilities.orders.native(), &lattice, 0)?;
    let when = abilities.orders.given(abilities.orders.native());
    let plan = Arc::new(Plan::new(lattice.clone(), &order, &vec![None; lattice.len()], schedule, when)?);
    let knobs = Knobs { class: 0, guidance, sampling: model.card.defaults.sampling, seed: 0 };
    let streams = if guidance.is_on() { 2 } else { 1 };
    let cost_of = networks::by_name(&model.card.family)?.cost;
    let cost_until = |steps: usize| -> Result<Cost> {
        let mut sum = Cost::default();
        for step in 0..steps {
            sum.add(cost_of(&model.card.network, &plan, step, streams)?);
        }
        Ok(sum)
    };
    sync()?;

    let started = Instant::now();
    let first = Decoding::start(network.as_mut(), plan.clone(), knobs, &[])?.next();
    first.transpose()?;
    let first_step = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let (mut times, mut made) = (Vec::new(), BTreeSet::new());
    let mut decoding = Decoding::start(network.as_mut(), plan.clone(), knobs, &[])?;
    while started.elapsed().as_secs_f64() < options.seconds {
        let step_started = Instant::now();
        let Some(step) = decoding.next().transpose()? else { break };
        times.push(step_started.elapsed().as_secs_f64());
        // Sliding windows make a token several times.
        made.extend(step.made.iter().map(|made| made.site));
    }
    let (spent, tokens) = (times.iter().sum::<f64>(), made.len());
    let whole = times.len() == plan.visits.len();
    let cost = cost_until(times.len())?;
    // The steps to come take as much longer as their bytes and operations would at the device's best.
    let at_best = |cost: Cost| cost.bytes / copy + cost.operations / product;
    let network_seconds = if whole { spent } else { spent * at_best(cost_until(plan.visits.len())?) / at_best(cost) };

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
        "family": model.card.family, "size": size, "parameters": network.spec().parameters,
        "device": chosen.name, "reason": chosen.reason, "steps": plan.visits.len(), "steps_measured": times.len(),
        "ms_per_step_mean": spent / times.len().max(1) as f64 * 1e3, "ms_per_step_median": median * 1e3,
        "first_step_ms": first_step * 1e3, "tokens_per_second": tokens as f64 / spent,
        "pictures_per_second": 1.0 / per_picture, "seconds_per_picture": per_picture,
        "bytes_per_second": cost.bytes / spent, "copy_bytes_per_second": copy, "of_copy": cost.bytes / spent / copy,
        "operations_per_second": cost.operations / spent, "product_operations_per_second": product,
        "of_product": cost.operations / spent / product,
        "few_rows": few_rows.iter().map(|few| json!({
            "rows": few.rows, "bytes_per_second": few.own, "of_copy": few.own / copy, "burn_bytes_per_second": few.burn,
        })).collect::<Vec<_>>(),
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
            "{} {size}, {:.1} M parameters, random weights",
            model.card.family,
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
    for few in few_rows {
        row(
            &format!("weights × {} rows", few.rows),
            format!(
                "{:.2} GB/s, {:.0} % of a copy's; burn's product {:.2} GB/s",
                few.own / 1e9,
                few.own / copy * 100.0,
                few.burn / 1e9
            ),
        );
    }
    row("preview (full decode)", format!("{:.1} ms, the first {:.1} ms", preview * 1e3, first_preview * 1e3));
    Ok(())
}
