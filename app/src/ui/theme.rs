//! How everything looks: colours, sizes and fonts, in this one place.

use std::cell::Cell;
use std::sync::Arc;

use egui::{
    Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, RichText, Shadow, Stroke,
    SystemTheme, TextStyle, Theme, Vec2, ViewportCommand, Visuals,
};

use crate::preferences::Appearance;

/// The colours of a theme.
struct Palette {
    background: Color32,
    panel: Color32,
    control: Color32,
    control_hovered: Color32,
    well: Color32,
    line: Color32,
    edge: Color32,
    text: Color32,
    dim: Color32,
    faint: Color32,
    accent: Color32,
    accent_hovered: Color32,
    accent_text: Color32,
    on_accent: Color32,
    ring: Color32,
    knob: Color32,
    knob_hovered: Color32,
    head: Color32,
    good: Color32,
    busy: Color32,
    bad: Color32,
}

const DARK: Palette = Palette {
    background: Color32::from_rgb(0x11, 0x12, 0x15),
    panel: Color32::from_rgb(0x1c, 0x1d, 0x20),
    control: Color32::from_rgb(0x2a, 0x2b, 0x2f),
    control_hovered: Color32::from_rgb(0x35, 0x36, 0x3b),
    well: Color32::from_rgb(0x15, 0x16, 0x19),
    line: Color32::from_rgb(0x0b, 0x0c, 0x0e),
    edge: Color32::from_rgb(0x3a, 0x3b, 0x40),
    text: Color32::from_rgb(0xe9, 0xe9, 0xeb),
    dim: Color32::from_rgb(0xa0, 0xa2, 0xab),
    faint: Color32::from_rgb(0x6d, 0x6f, 0x78),
    accent: Color32::from_rgb(0xf2, 0xa6, 0x3b),
    accent_hovered: Color32::from_rgb(0xff, 0xba, 0x58),
    accent_text: Color32::from_rgb(0xf2, 0xa6, 0x3b),
    on_accent: Color32::from_rgb(0x20, 0x17, 0x0a),
    ring: Color32::from_rgb(0xff, 0xba, 0x58),
    knob: Color32::from_gray(225),
    knob_hovered: Color32::WHITE,
    head: Color32::WHITE,
    good: Color32::from_rgb(0x6f, 0xc9, 0x83),
    busy: Color32::from_rgb(0xf2, 0xc8, 0x4b),
    bad: Color32::from_rgb(0xee, 0x6b, 0x62),
};

const LIGHT: Palette = Palette {
    background: Color32::from_rgb(0xd3, 0xd4, 0xd9),
    panel: Color32::from_rgb(0xf5, 0xf5, 0xf7),
    control: Color32::from_rgb(0xe6, 0xe7, 0xea),
    control_hovered: Color32::from_rgb(0xd9, 0xda, 0xde),
    well: Color32::from_rgb(0xec, 0xed, 0xf0),
    line: Color32::from_rgb(0xb9, 0xbb, 0xc2),
    edge: Color32::from_rgb(0xc6, 0xc8, 0xce),
    text: Color32::from_rgb(0x1b, 0x1c, 0x20),
    dim: Color32::from_rgb(0x53, 0x56, 0x5f),
    faint: Color32::from_rgb(0x8b, 0x8e, 0x97),
    accent: Color32::from_rgb(0xf2, 0xa6, 0x3b),
    accent_hovered: Color32::from_rgb(0xe7, 0x97, 0x28),
    accent_text: Color32::from_rgb(0x80, 0x4c, 0x00),
    on_accent: Color32::from_rgb(0x20, 0x17, 0x0a),
    ring: Color32::from_rgb(0xb0, 0x68, 0x00),
    knob: Color32::from_rgb(0x6a, 0x6d, 0x76),
    knob_hovered: Color32::from_rgb(0x3a, 0x3c, 0x43),
    head: Color32::from_rgb(0x3a, 0x3c, 0x43),
    good: Color32::from_rgb(0x1c, 0x71, 0x34),
    busy: Color32::from_rgb(0x75, 0x56, 0x00),
    bad: Color32::from_rgb(0xb3, 0x26, 0x1e),
};

thread_local! {
    /// The palette of the window that this thread draws.
    static WORN: Cell<&'static Palette> = const { Cell::new(&DARK) };
}

/// Makes a function for every colour of a palette.
macro_rules! colours {
    ($($(#[$about:meta])* $name:ident)*) => {
        $($(#[$about])* pub(super) fn $name() -> Color32 { WORN.get().$name })*
    };
}

colours! {
    /// Around the canvas.
    background
    /// Bars and panels.
    panel
    /// What can be pressed.
    control
    /// The same, under the pointer.
    control_hovered
    /// Sunk into a panel.
    well
    /// Lines between panels.
    line
    /// Edges of floating things.
    edge
    /// Text.
    text
    /// Text of less weight.
    dim
    /// Text of what cannot be had.
    faint
    /// What matters now.
    accent
    /// The same, under the pointer.
    accent_hovered
    /// The same as text.
    accent_text
    /// Text on it.
    on_accent
    /// Around what has the keyboard.
    ring
    /// The knob of a slider.
    knob
    /// The same, under the pointer.
    knob_hovered
    /// The head of the timeline.
    head
    /// All is well.
    good
    /// Something is going on.
    busy
    /// Something is wrong.
    bad
}

/// A token that was just made.
pub(super) const GLOW: Color32 = Color32::from_rgb(0xff, 0xcf, 0x7d);
/// A token still to come.
pub(super) const PENDING: Color32 = Color32::from_rgb(0x1d, 0x1d, 0x22);

/// Corners of controls.
pub(super) const RADIUS: CornerRadius = CornerRadius::same(6);
/// Height of the top bar.
pub(super) const TOP: f32 = 34.0;
/// Width of the tool strip.
pub(super) const STRIP: f32 = 48.0;
/// Width of the panel.
pub(super) const SIDE: f32 = 316.0;
/// Width of the history.
pub(super) const PAST: f32 = 214.0;
/// Height of the timeline.
pub(super) const BOTTOM: f32 = 132.0;

/// Size of text that is seldom read.
pub(super) const SMALL: f32 = 12.0;
/// Size of most text.
pub(super) const BODY: f32 = 14.0;

/// The family of the icon font. It has no letters.
fn icons() -> FontFamily {
    FontFamily::Name("icons".into())
}

/// The icon font at a size.
pub(super) fn icon_font(size: f32) -> FontId {
    FontId::new(size, icons())
}

/// An icon at a size.
pub(super) fn icon(codepoint: &str, size: f32) -> RichText {
    RichText::new(codepoint).font(icon_font(size))
}

/// The text font at a size.
pub(super) fn font(size: f32) -> FontId {
    FontId::proportional(size)
}

/// A colour between two others.
pub(super) fn mix(from: Color32, to: Color32, share: f32) -> Color32 {
    let share = share.clamp(0.0, 1.0);
    let part = |from: u8, to: u8| (f32::from(from) + (f32::from(to) - f32::from(from)) * share).round() as u8;
    Color32::from_rgb(part(from.r(), to.r()), part(from.g(), to.g()), part(from.b(), to.b()))
}

/// The colour of a number from 0 to 1 in an order: amber first, dark blue last.
pub(super) fn rank(share: f32) -> Color32 {
    const MIDDLE: Color32 = Color32::from_rgb(0x8a, 0x68, 0x48);
    const LAST: Color32 = Color32::from_rgb(0x2c, 0x2e, 0x48);
    if share < 0.5 { mix(DARK.accent, MIDDLE, share * 2.0) } else { mix(MIDDLE, LAST, share * 2.0 - 1.0) }
}

/// Whether black text stands out from a colour more than white text does.
pub(super) fn is_light(colour: Color32) -> bool {
    let [red, green, blue, _] = egui::Rgba::from(colour).to_array();
    // Where both have the same contrast (WCAG 2.2).
    0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179
}

/// The colour of a number from 0 to 1 in a heat map: dark blue, violet, amber, pale yellow.
pub(super) fn heat(share: f32) -> Color32 {
    const STOPS: [Color32; 4] = [
        Color32::from_rgb(0x1b, 0x1c, 0x3d),
        Color32::from_rgb(0x8c, 0x2f, 0x73),
        Color32::from_rgb(0xf2, 0x8e, 0x3b),
        Color32::from_rgb(0xfc, 0xf3, 0xa8),
    ];
    let at = share.clamp(0.0, 1.0) * 3.0;
    let stop = (at as usize).min(2);
    mix(STOPS[stop], STOPS[stop + 1], at - stop as f32)
}

/// The colour of a boldness from -1, calm, to 1, bold: blue and red, and grey in the middle.
pub(super) fn boldness(share: f32) -> Color32 {
    const CALM: Color32 = Color32::from_rgb(0x2f, 0x8d, 0xff);
    const MIDDLE: Color32 = Color32::from_rgb(0x86, 0x88, 0x90);
    const BOLD: Color32 = Color32::from_rgb(0xff, 0x2e, 0x4c);
    mix(MIDDLE, if share < 0.0 { CALM } else { BOLD }, share.abs())
}

/// Takes the theme that the person prefers, for this frame and, if it is another one than `worn`, for egui. Returns it.
pub(super) fn wear(ctx: &Context, appearance: Appearance, worn: Option<Theme>) -> Theme {
    let theme = match appearance {
        Appearance::Dark => Theme::Dark,
        Appearance::Light => Theme::Light,
        Appearance::System => ctx.system_theme().unwrap_or(Theme::Dark),
    };
    WORN.set(match theme {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    });
    if worn != Some(theme) {
        ctx.set_theme(theme);
        let (visuals, frame) = match theme {
            Theme::Dark => (Visuals::dark(), SystemTheme::Dark),
            Theme::Light => (Visuals::light(), SystemTheme::Light),
        };
        let visuals = dressed(visuals);
        ctx.all_styles_mut(|style| style.visuals = visuals.clone());
        ctx.send_viewport_cmd(ViewportCommand::SetTheme(frame));
    }
    theme
}

/// Fonts, sizes and spaces.
pub(super) fn apply(ctx: &Context) {
    // Ctrl with plus, minus and zero is for the picture.
    ctx.options_mut(|options| options.zoom_with_keyboard = false);
    ctx.set_fonts(fonts());
    ctx.all_styles_mut(|style| {
        style.text_styles = [
            (TextStyle::Small, font(SMALL)),
            (TextStyle::Body, font(BODY)),
            (TextStyle::Button, font(BODY)),
            (TextStyle::Heading, font(18.0)),
            (TextStyle::Monospace, FontId::monospace(13.0)),
        ]
        .into();
        style.spacing.item_spacing = Vec2::new(6.0, 6.0);
        style.spacing.button_padding = Vec2::new(9.0, 4.0);
        style.spacing.menu_margin = Margin::same(6);
        style.spacing.window_margin = Margin::same(16);
        style.spacing.slider_rail_height = 4.0;
        style.spacing.interact_size.y = 22.0;
        style.spacing.tooltip_width = 320.0;
        style.interaction.selectable_labels = false;
        style.interaction.tooltip_delay = 0.4;
    });
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let phosphor = FontData::from_static(include_bytes!("../../../assets/fonts/Phosphor.ttf"));
    fonts.font_data.insert("phosphor".into(), Arc::new(phosphor));
    fonts.families.insert(icons(), vec!["phosphor".into()]);
    fonts
}

fn dressed(mut visuals: Visuals) -> Visuals {
    visuals.panel_fill = panel();
    visuals.window_fill = panel();
    visuals.window_stroke = Stroke::new(1.0, edge());
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.menu_corner_radius = RADIUS;
    visuals.extreme_bg_color = well();
    visuals.faint_bg_color = control();
    visuals.selection.bg_fill = accent();
    visuals.selection.stroke = Stroke::new(1.0, on_accent());
    visuals.hyperlink_color = accent_text();
    visuals.error_fg_color = bad();
    visuals.warn_fg_color = accent_text();
    visuals.weak_text_color = Some(dim());
    visuals.slider_trailing_fill = true;
    // Blurred shadows cost most where there is no graphics card.
    let shadow = Shadow { offset: [0, 4], blur: 10, spread: 0, color: Color32::from_black_alpha(110) };
    visuals.popup_shadow = shadow;
    visuals.window_shadow = shadow;
    let widgets = &mut visuals.widgets;
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = RADIUS;
        widget.bg_stroke = Stroke::NONE;
        widget.expansion = 0.0;
        widget.fg_stroke = Stroke::new(1.0, text());
        widget.weak_bg_fill = control();
        widget.bg_fill = control();
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, edge());
    widgets.hovered.weak_bg_fill = control_hovered();
    widgets.hovered.bg_fill = control_hovered();
    widgets.active.weak_bg_fill = mix(control_hovered(), text(), 0.12);
    widgets.active.bg_stroke = Stroke::new(1.5, ring());
    widgets.open.weak_bg_fill = control_hovered();
    visuals
}
