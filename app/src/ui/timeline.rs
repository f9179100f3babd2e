//! The bar at the bottom: the run step by step, and what is shown of it.

use egui::{
    Align, CornerRadius, CursorIcon, Key, Layout, Painter, Pos2, Rect, Role, Sense, Shape, Stroke, Ui, UiBuilder, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::widgets::{focus_ring, icon_button, pill, section};
use super::{icons, theme};
use crate::actions::with_keys;
use crate::command::{Command, Heat};
use crate::document::Track;
use crate::editor::{Editor, Phase};

/// Widths of the left and right part.
const PLAYER: f32 = 250.0;
const SWITCHES: f32 = 316.0;
/// What the player's buttons measure.
const BUTTON: Vec2 = vec2(32.0, 32.0);

/// Shows the bar.
pub(super) fn show(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let all = ui.available_rect_before_wrap();
    let right = SWITCHES.min(all.width() * 0.3);
    let column = |from: f32, to: f32| Rect::from_min_max(pos2(from, all.min.y), pos2(to, all.max.y));
    let mut part = |rect: Rect, show: &mut dyn FnMut(&mut Ui)| {
        ui.scope_builder(UiBuilder::new().max_rect(rect).layout(Layout::top_down(Align::Min)), |ui| show(ui));
    };
    part(column(all.min.x, all.min.x + PLAYER), &mut |ui| player(ui, editor, commands));
    part(column(all.min.x + PLAYER + 20.0, all.max.x - right - 20.0), &mut |ui| curve(ui, editor, commands));
    part(column(all.max.x - right, all.max.x), &mut |ui| switches(ui, editor, commands));
}

fn player(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    section(ui, "Decoding");
    ui.add_space(2.0);
    let made = editor.track().map_or(0, |track| track.steps.len());
    let head = editor.head();
    ui.horizontal(|ui| {
        step_button(ui, editor, (icons::BACK, "One step back", "step-back"), head.checked_sub(1), commands);
        let running = editor.run.as_ref().is_some_and(|run| run.phase == Phase::Decoding) || editor.timeline.playing;
        let unfinished =
            editor.run.is_none() && editor.document.track.as_ref().is_some_and(|track| !track.is_complete());
        let (icon, name, tip) = match (running, unfinished && editor.timeline.head.is_none()) {
            (true, _) => (icons::PAUSE, "Pause", "Pause before the next step"),
            (false, true) => (icons::PLAY, "Play", "Go on with the stopped run"),
            (false, false) if editor.run.is_some() => (icons::PLAY, "Play", "Go on"),
            (false, false) => (icons::PLAY, "Play", "Watch the run again, step by step"),
        };
        let ready = made > 0 || editor.run.as_ref().is_some_and(|run| run.phase == Phase::Decoding);
        if icon_button(ui, BUTTON, icon, name, &with_keys(editor, tip, "play"), ready).clicked() {
            commands.push(Command::PlayOrPause);
        }
        let next = (head < made).then_some(head + 1);
        step_button(ui, editor, (icons::FORWARD, "One step forward", "step-forward"), next, commands);
        branch(ui, editor, commands);
    });
    ui.add_space(1.0);
    let hint = if made == 0 {
        "press Generate; every step is kept here"
    } else {
        "drag to rewind; Branch goes on from this step"
    };
    ui.label(egui::RichText::new(hint).size(theme::SMALL).color(theme::dim()));
}

/// Goes to the step after so many others, where there is one; with its icon, its name and the action whose keys do the same.
fn step_button(
    ui: &mut Ui,
    editor: &Editor,
    (icon, name, action): (&str, &str, &str),
    to: Option<usize>,
    commands: &mut Vec<Command>,
) {
    let clicked = icon_button(ui, BUTTON, icon, name, &with_keys(editor, name, action), to.is_some()).clicked();
    commands.extend(to.filter(|_| clicked).map(Command::Rewind));
}

fn branch(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let enabled = editor.can_branch();
    let colour = if enabled { theme::text() } else { theme::dim() };
    let atoms =
        (theme::icon(icons::BRANCH, 16.0).color(colour), egui::RichText::new("Branch here").size(13.0).color(colour));
    let response = ui.add_enabled(enabled, egui::Button::new(atoms).min_size(vec2(0.0, 32.0)));
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, "Branch here"));
    if response.clicked() {
        commands.push(Command::BranchHere);
    }
    let tip = "Keeps the steps up to here and makes the rest anew with the subject, guidance and temperature in the panel. \
               Mask, order and steps stay those of the run; the seed too, where it decides the order";
    let smooth = editor.track().is_some_and(|track| track.request.knobs.sampling.smooth);
    let missing =
        if smooth { "Not available: the mixtures of a smooth run are not kept" } else { "Rewind a finished run first" };
    response.on_hover_text(tip).on_disabled_hover_text(format!("{tip}.\n{missing}"));
}

/// Mean uncertainty per step, and the head that can be dragged.
fn curve(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    section(ui, "Uncertainty per step (bits)");
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 74.0), Sense::click_and_drag());
    let steps = editor.track().map_or(0, |track| track.outline.steps);
    response.widget_info(|| WidgetInfo::slider(steps > 0, editor.head() as f64, "Timeline"));
    let (rect, painter) = (rect.shrink2(vec2(6.0, 0.0)), ui.painter_at(rect));
    focus_ring(ui, &response, rect, 4);
    let rail = Rect::from_min_max(pos2(rect.min.x, rect.max.y - 7.0), pos2(rect.max.x, rect.max.y - 4.0));
    painter.rect_filled(rail, CornerRadius::same(2), theme::control());
    let Some(track) = editor.track().filter(|_| steps > 0) else {
        let other = editor.document.track.as_ref().filter(|_| editor.run.is_none());
        let text = other
            .map_or("no run yet".into(), |track| format!("made with {}: choose that model to look back", track.model));
        painter.text(
            rect.center() - vec2(0.0, 6.0),
            egui::Align2::CENTER_CENTER,
            text,
            theme::font(13.0),
            theme::dim(),
        );
        return;
    };
    let x = |step: f32| rect.min.x + rect.width() * step / steps as f32;
    let plot = Rect::from_min_max(rect.min + vec2(0.0, 8.0), pos2(rect.max.x, rail.min.y - 8.0));
    draw_curve(&painter, plot, track, editor.head(), &x);
    // Where one pass ends and the next begins.
    for leg in track.legs.iter().skip(1) {
        painter.vline(x(leg.plan.first as f32), plot.min.y..=rail.max.y, Stroke::new(1.0, theme::edge()));
    }
    let head = x(editor.head() as f32);
    painter.rect_filled(Rect::from_min_max(rail.min, pos2(head, rail.max.y)), CornerRadius::same(2), theme::accent());
    painter.vline(head, rect.min.y + 4.0..=rail.max.y, Stroke::new(1.5, theme::head()));
    painter.circle_filled(pos2(head, rect.min.y + 5.0), 4.5, theme::head());
    let pointed = |at: Pos2| {
        ((at.x - rect.min.x) / rect.width() * steps as f32).round().clamp(0.0, track.steps.len() as f32) as usize
    };
    if (response.dragged() || response.clicked())
        && let Some(at) = response.interact_pointer_pos()
    {
        commands.push(Command::Rewind(pointed(at)));
    }
    if response.has_focus() {
        let (back, forward) = ui.input(|input| (input.key_pressed(Key::ArrowLeft), input.key_pressed(Key::ArrowRight)));
        let head = editor.head();
        match (back, forward) {
            (true, _) => commands.push(Command::Rewind(head.saturating_sub(1))),
            (_, true) => commands.push(Command::Rewind(head + 1)),
            _ => {}
        }
    }
    let tip = response.hover_pos().map(|at| step_text(track, pointed(at)));
    let response = response.on_hover_and_drag_cursor(CursorIcon::ResizeHorizontal);
    if let Some(tip) = tip {
        response.on_hover_text_at_pointer(tip);
    }
}

fn draw_curve(painter: &Painter, plot: Rect, track: &Track, head: usize, x: &dyn Fn(f32) -> f32) {
    let bits: Vec<f32> = track.steps.iter().map(mean_bits).collect();
    let (least, most) =
        bits.iter().fold((f32::MAX, 0.0_f32), |(least, most), bits| (least.min(*bits), most.max(*bits)));
    // At least two bits from top to bottom, so that noise does not look like news.
    let (middle, span) = ((least + most) / 2.0, (1.2 * (most - least)).max(2.0));
    let y = |bits: f32| plot.center().y - plot.height() * (bits - middle) / span;
    let points: Vec<Pos2> = bits.iter().enumerate().map(|(step, bits)| pos2(x(step as f32 + 0.5), y(*bits))).collect();
    let (past, future) = (&points[..head.min(points.len())], &points[head.saturating_sub(1).min(points.len())..]);
    if past.len() > 1 {
        painter.add(Shape::line(past.to_vec(), Stroke::new(1.6, theme::accent())));
    } else if let Some(point) = past.first() {
        painter.circle_filled(*point, 1.8, theme::accent());
    }
    if future.len() > 1 && head < points.len() {
        painter.extend(Shape::dashed_line(future, Stroke::new(1.2, theme::faint()), 2.0, 4.0));
    }
}

fn mean_bits(step: &andamento_model::decode::Step) -> f32 {
    step.made.iter().map(|made| made.bits).sum::<f32>() / step.made.len().max(1) as f32
}

fn step_text(track: &Track, step: usize) -> String {
    match step.checked_sub(1).and_then(|index| track.steps.get(index)) {
        Some(made) => {
            let tokens = made.made.len();
            let plural = if tokens == 1 { "" } else { "s" };
            let pass = match track.outline.passes {
                1 => String::new(),
                passes => format!(" · pass {} of {passes}", track.pass(step - 1) + 1),
            };
            format!("after step {step}{pass} · {tokens} token{plural} · {:.1} bits on average", mean_bits(made))
        }
        None => "before the first step".into(),
    }
}

fn switches(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    section(ui, "Show");
    ui.add_space(2.0);
    let show = editor.show;
    ui.spacing_mut().item_spacing = vec2(7.0, 7.0);
    ui.horizontal_wrapped(|ui| {
        if pill(ui, show.image, "Image", "The picture") {
            commands.push(Command::ShowImage(!show.image));
        }
        if pill(
            ui,
            show.tokens,
            "Tokens",
            &with_keys(editor, "The token grid: dark = still to come, amber = just made", "show-tokens"),
        ) {
            commands.push(Command::ShowTokens(!show.tokens));
        }
        let heats = [
            (Heat::Order, "Order", "When each token was made: amber first, blue last"),
            (
                Heat::Uncertainty,
                "Uncertainty",
                "How unsure the model was: entropy of its guess, in bits; bright = unsure",
            ),
            (Heat::Likelihood, "Likelihood", "How likely the chosen code was: probability, 0 to 1; bright = likely"),
        ];
        for (heat, name, tip) in heats {
            let on = show.heat == Some(heat);
            if pill(ui, on, name, tip) {
                commands.push(Command::ShowHeat((!on).then_some(heat)));
            }
        }
    });
}
