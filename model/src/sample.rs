//! From logits to a token: guidance, temperature, top-k and top-p, and the draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::lattice::{Site, Token};
use crate::{Error, Result};

/// Where in a run a step stands, for what changes on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Tokens settled before the step, given ones included.
    pub known: usize,
    /// Tokens there are in the pass, see [`Visit::total`](crate::plan::Visit::total).
    pub total: usize,
    /// The scale of the step's sites, 0 the coarsest.
    pub scale: usize,
    /// Number of scales of the lattice.
    pub scales: usize,
    /// Which factor of a factorised token is drawn, from 0.
    pub factor: usize,
}

/// Classifier-free guidance: how the scale `w` of `u + w (c - u)` runs over a generation, `c` being the logits with the
/// class and `u` those without.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "schedule", deny_unknown_fields)]
pub enum Guidance {
    /// From `start` at the first token to `end`, which would be reached after the last one (`randar_gpt.py`,
    /// `cfg_scales`). On when `end` is above 1, as published: (4, 1) is off.
    Linear {
        /// Scale at the first token.
        start: f32,
        /// Scale that would be reached after the last token.
        end: f32,
    },
    /// The same scale throughout, or for the first tokens only (LlamaGen's `generate.py`). On when it is above 1.
    Constant {
        /// The scale.
        scale: f32,
        /// LlamaGen's `cfg_interval`: the last token that is guided, counted from the second one of the picture.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<usize>,
    },
    /// RAR's power-cosine schedule: `1 + (scale - 1) (1 - cos(π (i / N)^power)) / 2` at token `i` of `N`
    /// (`modeling/rar.py`, `generate`). A power of 0 is constant guidance. Off at a scale of 0, as published.
    PowerCosine {
        /// Scale that would be reached after the last token.
        scale: f32,
        /// How late guidance sets in.
        power: f32,
    },
    /// VAR's: `1 + scale · s / (K - 1)` at scale `s` of `K` (`models/var.py`). Off at 0.
    Scales {
        /// What is added to 1 at the finest scale.
        scale: f32,
    },
    /// Open-MAGVIT2's: a constant for each of the two factors of a token (`gpt.py`). On when the first is above 1.
    Factors {
        /// The scales.
        scales: [f32; 2],
    },
    /// RandAR's with spatial contextual guidance (§3.4.3, appendix F; `resolution_extrapolation.py`): beside the class, what
    /// the tokens of a third stream's context lack pulls too. Both scales run linearly; on when `class` ends above 1, with
    /// the third stream when `context` does as well.
    Spatial {
        /// First and last scale of `c - u`.
        class: [f32; 2],
        /// First and last scale of `u - d`, `d` being the logits without class and without the dropped tokens.
        context: [f32; 2],
        /// Share of tokens that are dropped; published 0.5 of the first pass when the resolution is extrapolated, 0.25
        /// otherwise.
        dropped: f32,
    },
}

impl Guidance {
    /// The same scale throughout.
    pub const fn constant(scale: f32) -> Self {
        Self::Constant { scale, until: None }
    }

    /// From 1 to `scale`, RandAR's default.
    pub const fn linear(scale: f32) -> Self {
        Self::Linear { start: 1.0, end: scale }
    }

    /// Whether a stream without the class is needed.
    pub fn is_on(&self) -> bool {
        match *self {
            Self::Linear { end: scale, .. }
            | Self::Constant { scale, .. }
            | Self::Factors { scales: [scale, _] }
            | Self::Spatial { class: [_, scale], .. } => scale > 1.0,
            Self::PowerCosine { scale, .. } | Self::Scales { scale } => scale != 0.0,
        }
    }

    /// With spatial contextual guidance beside it, from 1 to `scale`.
    ///
    /// # Errors
    /// If the schedule of the class is neither linear nor constant.
    pub fn with_context(self, scale: f32, dropped: f32) -> Result<Self> {
        let class = match self {
            Self::Linear { start, end } => [start, end],
            Self::Constant { scale, until: None } => [scale; 2],
            Self::Spatial { class, .. } => class,
            _ => {
                let cause = "spatial contextual guidance stands beside linear or constant guidance only";
                return Err(Error::control("guidance", cause, "Choose one of these schedules"));
            }
        };
        Ok(Self::Spatial { class, context: [1.0, scale], dropped })
    }

    /// The last scale of spatial contextual guidance; 1 where there is none.
    pub fn context(&self) -> f32 {
        match *self {
            Self::Spatial { context: [_, end], .. } => end,
            _ => 1.0,
        }
    }

    /// Of spatial contextual guidance that is on, the share of tokens that are dropped.
    pub fn dropped(&self) -> Option<f32> {
        match *self {
            Self::Spatial { context: [_, end], dropped, .. } if self.is_on() && end > 1.0 => Some(dropped),
            _ => None,
        }
    }

    /// The scales at a step, each of the difference between a stream and the next one.
    pub fn scales(&self, at: &Moment) -> [f32; 2] {
        match *self {
            Self::Spatial { context: [start, end], .. } => {
                let context = Self::Linear { start, end };
                [self.scale(at), context.scale(at)]
            }
            _ => [self.scale(at), 1.0],
        }
    }

    /// The scale of the class at a step.
    pub fn scale(&self, at: &Moment) -> f32 {
        let share = at.known as f32 / at.total.max(1) as f32;
        match *self {
            Self::Linear { start, end } | Self::Spatial { class: [start, end], .. } => start + (end - start) * share,
            Self::Constant { until: Some(last), .. } if at.known > last + 1 => 1.0,
            Self::Constant { scale, .. } => scale,
            Self::PowerCosine { scale, power } => {
                let ramp = (1.0 - (std::f32::consts::PI * share.powf(power)).cos()) / 2.0;
                (scale - 1.0) * ramp + 1.0
            }
            Self::Scales { scale } => 1.0 + scale * at.scale as f32 / at.scales.saturating_sub(1).max(1) as f32,
            Self::Factors { scales } => scales[at.factor.min(1)],
        }
    }

    /// The number that a person sets: the scale, or its value at the end.
    pub fn strength(&self) -> f32 {
        match *self {
            Self::Linear { end: scale, .. }
            | Self::Constant { scale, .. }
            | Self::PowerCosine { scale, .. }
            | Self::Scales { scale }
            | Self::Factors { scales: [scale, _] }
            | Self::Spatial { class: [_, scale], .. } => scale,
        }
    }

    /// The same schedule at another strength; two factors keep their ratio.
    pub fn with_strength(self, strength: f32) -> Self {
        match self {
            Self::Linear { start, .. } => Self::Linear { start, end: strength },
            Self::Spatial { class: [start, _], context, dropped } => {
                Self::Spatial { class: [start, strength], context, dropped }
            }
            Self::Constant { until, .. } => Self::Constant { scale: strength, until },
            Self::PowerCosine { power, .. } => Self::PowerCosine { scale: strength, power },
            Self::Scales { .. } => Self::Scales { scale: strength },
            Self::Factors { scales: [first, second] } => {
                let ratio = if first > 0.0 { second / first } else { 1.0 };
                Self::Factors { scales: [strength, strength * ratio] }
            }
        }
    }
}

/// How boldly tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; below 1 cautious, above 1 bold.
    pub temperature: f32,
    /// Only the likeliest `top_k` codes; 0 is all.
    pub top_k: usize,
    /// Only the likeliest codes that reach this probability together; 1 is all.
    pub top_p: f32,
    /// The temperature of the second factor of a factorised token; as the first where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_temperature: Option<f32>,
    /// VAR's smooth mode: mixtures of codes instead of single ones, for softer pictures.
    #[serde(default)]
    pub smooth: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, second_temperature: None, smooth: false }
    }
}

/// A token that was drawn, with what the network thought of it before top-k and top-p.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Where.
    pub site: Site,
    /// What.
    pub token: Token,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// How many codes were likelier.
    pub rank: u32,
    /// Entropy of the distribution it was drawn from, in bits.
    pub bits: f32,
    /// What else it could have been. Not kept in ledgers, nor known where a token has several factors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likeliest: Option<Likeliest>,
    /// Whether a person has chosen it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The factor on the temperature at which it was drawn, see [`Boldness`](crate::boldness::Boldness).
    #[serde(default = "neutral", skip_serializing_if = "is_neutral")]
    pub boldness: f32,
}

fn neutral() -> f32 {
    1.0
}

fn is_neutral(boldness: &f32) -> bool {
    *boldness == 1.0
}

/// So many of the likeliest codes are kept of every draw.
pub const LIKELIEST: usize = 8;

/// The likeliest codes of a draw with their probabilities before top-k and top-p, rounded to a hundred-thousandth; the
/// likeliest first. In files a line of text, `code:probability` after `code:probability`, of about a hundred bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Likeliest {
    codes: [(Token, f32); LIKELIEST],
    count: usize,
}

impl Likeliest {
    /// Of so many probabilities, one for every code.
    fn of(probabilities: &[f32]) -> Self {
        let (mut codes, mut count) = ([(0, 0.0); LIKELIEST], 0);
        for (code, probability) in probabilities.iter().enumerate() {
            if count == LIKELIEST && *probability <= codes[LIKELIEST - 1].1 {
                continue;
            }
            let place = codes[..count].partition_point(|(_, other)| other >= probability);
            count = (count + 1).min(LIKELIEST);
            codes[place..count].rotate_right(1);
            codes[place] = (code as Token, *probability);
        }
        codes.iter_mut().for_each(|(_, probability)| *probability = (*probability * 1e5).round() / 1e5);
        Self { codes, count }
    }

    /// The codes with their probabilities, the likeliest first.
    pub fn codes(&self) -> &[(Token, f32)] {
        &self.codes[..self.count]
    }
}

impl From<Likeliest> for String {
    fn from(likeliest: Likeliest) -> Self {
        let codes = likeliest.codes().iter().map(|(code, probability)| format!("{code}:{probability}"));
        codes.collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<String> for Likeliest {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let (mut codes, mut count) = ([(0, 0.0); LIKELIEST], 0);
        for part in text.split_whitespace() {
            let refuse = || format!("“{part}” is no code with its probability");
            let (code, probability) = part.split_once(':').ok_or_else(refuse)?;
            let probability: f32 = probability.parse().map_err(|_| refuse())?;
            let place: &mut (Token, f32) = codes.get_mut(count).ok_or_else(refuse)?;
            *place = (code.parse().map_err(|_| refuse())?, probability);
            if !(0.0..=1.0).contains(&probability) {
                return Err(refuse());
            }
            count += 1;
        }
        Ok(Self { codes, count })
    }
}

impl Made {
    /// With the next factor of the same token, whose earlier factors have `radix` values together: probabilities multiply,
    /// bits add up, the rank is the larger one.
    pub(crate) fn with_factor(self, next: Self, radix: u32) -> Self {
        Self {
            site: self.site,
            token: self.token + radix * next.token,
            probability: self.probability * next.probability,
            rank: self.rank.max(next.rank),
            bits: self.bits + next.bits,
            likeliest: None,
            by_hand: false,
            boldness: self.boldness,
        }
    }
}

impl Made {
    /// The same with a code that a person has chosen, as likely as the model found it; 0 where that is not known.
    pub(crate) fn chosen(self, token: Token) -> Self {
        let codes = self.likeliest.as_ref().map_or(&[][..], Likeliest::codes);
        let place = codes.iter().position(|(code, _)| *code == token);
        let (probability, rank) = place.map_or((0.0, LIKELIEST), |place| (codes[place].1, place));
        Self { token, probability, rank: rank as u32, by_hand: true, ..self }
    }
}

impl Sampling {
    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// Names the control and its range.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature)) {
            let cause = format!("{} is not between 0 and 100", self.temperature);
            return Err(Error::control("temperature", cause, "Use about 1"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::control(
                "top-p",
                format!("{} is not between 0 and 1", self.top_p),
                "Use 1 for no limit",
            ));
        }
        Ok(())
    }

    /// The same for a token that is drawn so many times as boldly: the factor is on the temperature of all its factors.
    #[must_use]
    pub fn bolder(self, factor: f32) -> Self {
        let second_temperature = self.second_temperature.map(|temperature| temperature * factor);
        Self { temperature: self.temperature * factor, second_temperature, ..self }
    }

    /// Whether the likeliest code is taken everywhere, so that no factor on the temperature changes anything.
    pub fn is_greedy(&self) -> bool {
        let coldest = self.temperature.max(self.second_temperature.unwrap_or(self.temperature));
        self.top_k == 1 || coldest == 0.0
    }

    /// Logits after temperature, top-k and top-p, as published (`RandAR/model/generate.py`): what is left out is minus
    /// infinity, ties at the k-th value are kept, and so is the code that crosses `top_p`.
    pub fn filtered(&self, logits: &[f32], factor: usize) -> Vec<f32> {
        let mut logits = self.tempered(logits, factor);
        if self.top_k > 0 && self.top_k < logits.len() {
            let mut sorted = logits.clone();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let least = sorted[self.top_k - 1];
            logits.iter_mut().filter(|logit| **logit < least).for_each(|logit| *logit = f32::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            let probabilities = softmax(&logits);
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let mut before = 0.0;
            for code in order {
                if before > self.top_p {
                    logits[code] = f32::NEG_INFINITY;
                }
                before += probabilities[code];
            }
        }
        logits
    }

    /// Probabilities after temperature, top-k and top-p.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        softmax(&self.filtered(logits, 0))
    }

    /// Draws a token, or one factor of it, for a site from its logits. The same draw and logits give the same token
    /// everywhere.
    ///
    /// # Errors
    /// If the logits are not numbers, which is how a failing device shows.
    pub fn draw(&self, logits: &[f32], of: &Draw) -> Result<Made> {
        if logits.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::device("model", "it returned values that are not numbers", "Try --device cpu"));
        }
        let believed = softmax(&self.tempered(logits, of.factor));
        let token = pick(&softmax(&self.filtered(logits, of.factor)), of.uniform());
        let probability = believed[token];
        Ok(Made {
            site: of.site,
            token: token as Token,
            probability,
            rank: believed.iter().filter(|other| **other > probability).count() as u32,
            likeliest: Some(Likeliest::of(&believed)),
            by_hand: false,
            boldness: 1.0,
            bits: -believed.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum::<f32>(),
        })
    }

    /// VAR's smooth mode (`models/var.py`, `more_smooth`): the share of every code in the mixture for a site, from the
    /// filtered logits sharpened along the scales, with Gumbel noise, at a temperature that falls along the scales.
    pub fn mixture(&self, logits: &[f32], of: &Draw, at: &Moment) -> Vec<f32> {
        soft_weights(&self.filtered(logits, of.factor), &of.gumbels(logits.len()), at)
    }

    fn tempered(&self, logits: &[f32], factor: usize) -> Vec<f32> {
        let temperature =
            if factor == 0 { self.temperature } else { self.second_temperature.unwrap_or(self.temperature) };
        let temperature = temperature.max(1e-5);
        logits.iter().map(|logit| logit / temperature).collect()
    }
}

/// Weights of a mixture: `softmax((logits (1 + r) + noise) / τ)` with `r = s / (K - 1)` at scale `s` of `K` and
/// `τ = max(0.27 (1 - 0.95 r), 0.005)`.
pub fn soft_weights(filtered: &[f32], noise: &[f32], at: &Moment) -> Vec<f32> {
    let ratio = at.scale as f32 / at.scales.saturating_sub(1).max(1) as f32;
    let tau = (0.27 * (1.0 - 0.95 * ratio)).max(0.005);
    let sharpened = filtered.iter().zip(noise).map(|(logit, noise)| (logit * (1.0 + ratio) + noise) / tau);
    softmax(&sharpened.collect::<Vec<_>>())
}

/// What is drawn: the key of its randomness, which is the same on every device and at any number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Where the randomness starts.
    pub seed: u64,
    /// The step.
    pub step: usize,
    /// The site.
    pub site: Site,
    /// Which factor of a factorised token, from 0.
    pub factor: usize,
}

impl Draw {
    fn stream(&self) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream((self.step as u64) << 32 | u64::from(self.site.0));
        random
    }

    /// A number in 0..1.
    fn uniform(&self) -> f64 {
        let mut random = self.stream();
        (0..self.factor).for_each(|_| _ = random.next_u64());
        unit(random.next_u64())
    }

    /// Gumbel noise for so many codes, from the stream behind the numbers for draws.
    fn gumbels(&self, codes: usize) -> Vec<f32> {
        let mut random = self.stream();
        (0..DRAWS).for_each(|_| _ = random.next_u64());
        let gumbel = |_| -(-unit(random.next_u64()).max(f64::MIN_POSITIVE).ln()).ln();
        (0..codes).map(gumbel).map(|noise| noise as f32).collect()
    }
}

/// Numbers at the head of a stream that are kept for draws.
const DRAWS: usize = 8;

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The first code whose cumulative probability exceeds `at`.
fn pick(probabilities: &[f32], at: f64) -> usize {
    let total: f64 = probabilities.iter().map(|p| f64::from(*p)).sum();
    let mut sum = 0.0;
    let mut last = 0;
    for (code, p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        sum += f64::from(*p) / total;
        last = code;
        if sum > at {
            break;
        }
    }
    last
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}
