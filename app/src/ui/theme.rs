//! How everything looks: colours, sizes and fonts, in this one place.

use std::sync::Arc;

use egui::{
    Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, RichText, Shadow, Stroke,
    TextStyle, Theme, Vec2, Visuals,
};

/// Around the canvas.
pub(super) const BACKGROUND: Color32 = Color32::from_rgb(0x11, 0x12, 0x15);
/// Bars and panels.
pub(super) const PANEL: Color32 = Color32::from_rgb(0x1c, 0x1d, 0x20);
/// What can be pressed.
pub(super) const CONTROL: Color32 = Color32::from_rgb(0x2a, 0x2b, 0x2f);
/// The same, under the pointer.
pub(super) const CONTROL_HOVERED: Color32 = Color32::from_rgb(0x35, 0x36, 0x3b);
/// Sunk into a panel.
pub(super) const WELL: Color32 = Color32::from_rgb(0x15, 0x16, 0x19);
/// Lines between panels.
pub(super) const LINE: Color32 = Color32::from_rgb(0x0b, 0x0c, 0x0e);
/// Edges of floating things.
pub(super) const EDGE: Color32 = Color32::from_rgb(0x3a, 0x3b, 0x40);
/// Text.
pub(super) const TEXT: Color32 = Color32::from_rgb(0xe9, 0xe9, 0xeb);
/// Text of less weight.
pub(super) const DIM: Color32 = Color32::from_rgb(0x98, 0x9a, 0xa3);
/// Text of no weight.
pub(super) const FAINT: Color32 = Color32::from_rgb(0x6d, 0x6f, 0x78);
/// What matters now.
pub(super) const ACCENT: Color32 = Color32::from_rgb(0xf2, 0xa6, 0x3b);
/// The same, under the pointer.
pub(super) const ACCENT_HOVERED: Color32 = Color32::from_rgb(0xff, 0xba, 0x58);
/// Text on it.
pub(super) const ON_ACCENT: Color32 = Color32::from_rgb(0x20, 0x17, 0x0a);
/// A token that was just made.
pub(super) const GLOW: Color32 = Color32::from_rgb(0xff, 0xcf, 0x7d);
/// All is well.
pub(super) const GOOD: Color32 = Color32::from_rgb(0x6f, 0xc9, 0x83);
/// Something is going on.
pub(super) const BUSY: Color32 = Color32::from_rgb(0xf2, 0xc8, 0x4b);
/// Something is wrong.
pub(super) const BAD: Color32 = Color32::from_rgb(0xee, 0x6b, 0x62);
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
    if share < 0.5 { mix(ACCENT, MIDDLE, share * 2.0) } else { mix(MIDDLE, LAST, share * 2.0 - 1.0) }
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

/// Dresses egui.
pub(super) fn apply(ctx: &Context) {
    ctx.set_theme(Theme::Dark);
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
        style.visuals = visuals();
    });
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let phosphor = FontData::from_static(include_bytes!("../../../assets/fonts/Phosphor.ttf"));
    fonts.font_data.insert("phosphor".into(), Arc::new(phosphor));
    fonts.families.insert(icons(), vec!["phosphor".into()]);
    fonts
}

fn visuals() -> Visuals {
    let mut visuals = Visuals::dark();
    visuals.panel_fill = PANEL;
    visuals.window_fill = PANEL;
    visuals.window_stroke = Stroke::new(1.0, EDGE);
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.menu_corner_radius = RADIUS;
    visuals.extreme_bg_color = WELL;
    visuals.faint_bg_color = CONTROL;
    visuals.selection.bg_fill = ACCENT;
    visuals.selection.stroke = Stroke::new(1.0, ON_ACCENT);
    visuals.hyperlink_color = ACCENT;
    visuals.error_fg_color = BAD;
    visuals.warn_fg_color = ACCENT;
    visuals.weak_text_color = Some(DIM);
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
        widget.fg_stroke = Stroke::new(1.0, TEXT);
        widget.weak_bg_fill = CONTROL;
        widget.bg_fill = CONTROL;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, EDGE);
    widgets.hovered.weak_bg_fill = CONTROL_HOVERED;
    widgets.hovered.bg_fill = CONTROL_HOVERED;
    widgets.active.weak_bg_fill = mix(CONTROL_HOVERED, TEXT, 0.12);
    widgets.active.bg_stroke = Stroke::new(1.0, ACCENT);
    widgets.open.weak_bg_fill = CONTROL_HOVERED;
    visuals
}
