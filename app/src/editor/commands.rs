//! What every command does.

use std::path::PathBuf;

use andamento_model::boldness::{BOLD, CALM};

use super::files::or_ending;
use super::runs::roll;
use super::*;

impl Editor {
    /// Carries out an intent. What goes wrong becomes a notice.
    pub fn apply(&mut self, command: Command) {
        let known = Hint::known_by(&command);
        match self.carry_out(command) {
            Ok(()) => self.close_hints(known),
            Err(error) => self.complain(&error),
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<()> {
        if self.run.is_some() && changes_the_picture(&command) {
            self.after_stop = Some(command);
            return self.stop();
        }
        match command {
            Command::Ask(dialog) => self.dialog = Some(dialog),
            Command::CloseDialog => {
                self.dialog = None;
                // Who turns away from saving does not want to leave any more.
                self.quit_once_saved &= self.desk.busy > 0;
            }
            Command::Open(path) => self.load(path),
            Command::Save => return self.save(),
            Command::SaveAs(path) => return self.write(or_ending(path, "andamento"), true),
            Command::Quit if self.is_unsaved() => self.dialog = Some(Dialog::Leave),
            Command::Quit | Command::QuitUnsaved => self.quitting = true,
            Command::SaveAndQuit => {
                self.dialog = None;
                self.quit_once_saved = true;
                return self.save();
            }
            Command::Export(path) => return self.write(or_ending(path, "png"), self.desk.metadata),
            Command::JpegQuality(quality) => self.desk.quality = quality.clamp(1, 100),
            Command::Metadata(on) => self.desk.metadata = on,
            Command::DropFiles { paths, as_mask } => self.drop_files(paths, as_mask),
            Command::Copy => self.copy(),
            Command::Paste => self.paste(),
            Command::RestoreRequest => return self.restore_request(),
            Command::Recover(folder) => return self.recover(&folder),
            Command::DiscardRecovery(folder) => return self.discard_recovery(&folder),
            Command::ForgetRecent => return self.forget_recent(),
            Command::Undo => {
                self.end_stroke();
                let document = self.history.undo();
                self.go_to(document);
            }
            Command::Redo => {
                self.end_stroke();
                let document = self.history.redo();
                self.go_to(document);
            }
            Command::GoTo(index) => self.go_to_entry(index),
            Command::RunAgain { entry, new_seed } => return self.run_again(entry, new_seed),
            Command::UseSettings(entry) => return self.use_settings(entry),
            Command::Choose(tool) => return self.take_tool(tool),
            Command::BrushSize(size) => self.take_brush_size(size),
            Command::BrushHardness(hardness) => self.brush.hardness = hardness.clamp(0.0, 1.0),
            Command::SwapErase if self.brush.tool == Tool::Order => self.order_brush.erase = !self.order_brush.erase,
            Command::SwapErase if self.brush.tool == Tool::Boldness => {
                self.boldness_brush.erase = !self.boldness_brush.erase;
            }
            Command::SwapErase if self.brush.tool == Tool::Eraser => return self.take_tool(Tool::Brush),
            Command::SwapErase => return self.take_tool(Tool::Eraser),
            Command::EraseOrder(erase) => self.order_brush.erase = erase,
            Command::ClearOrder => self.clear_order(),
            Command::Boldness(factor) => self.boldness_brush.factor = factor.clamp(CALM, BOLD),
            Command::EraseBoldness(erase) => self.boldness_brush.erase = erase,
            Command::ClearBoldness => self.clear_boldness(),
            Command::BeginStroke { at, erase } if self.brush.tool == Tool::Order => self.begin_path(at, erase),
            Command::BeginStroke { at, erase } if self.brush.tool == Tool::Boldness => self.begin_boldness(at, erase),
            Command::BeginStroke { at, erase } => self.begin_stroke(at, erase),
            Command::ExtendStroke(to) => {
                self.extend_path(to);
                self.extend_boldness(to);
                self.extend_stroke(to);
            }
            Command::EndStroke => self.end_stroke(),
            Command::CancelStroke if self.cancel_path() || self.cancel_boldness() => {}
            Command::CancelStroke => {
                let stroke = self.stroke.take();
                self.go_to(stroke.map(|stroke| stroke.before));
            }
            Command::Pressure(pressure) => self.pressure = pressure.clamp(0.02, 1.0),
            Command::Select(selection, how) => return self.select(selection, how),
            Command::CombineBy(how) => self.combine = how,
            Command::Tolerance(levels) => self.wand.tolerance = levels,
            Command::Contiguous(contiguous) => self.wand.contiguous = contiguous,
            Command::AdjustMask(adjustment, radius) => self.adjust_mask(adjustment, radius),
            Command::ImportMask(path) => {
                self.dialog = None;
                self.errands.read_mask(path, (self.document.picture.width(), self.document.picture.height()));
            }
            Command::ExportMask(path) => return self.export_mask(path),
            Command::Overlay(overlay) => {
                self.show.overlay = Overlay { opacity: overlay.opacity.clamp(0.05, 1.0), ..overlay };
            }
            Command::ClearMask => {
                self.change_mask("Clear mask", Mask::new(self.document.mask.width(), self.document.mask.height()));
            }
            Command::InvertMask => self.change_mask("Invert mask", self.document.mask.inverted()),
            Command::SelectAll => {
                let mut all = self.document.mask.clone();
                all.fill_rect(all.rect(), 255);
                self.change_mask("Select all", all);
            }
            Command::SnapToTokens(snap) => self.snap = snap,
            Command::PlaceFrame(rect) => return self.place_frame(rect),
            Command::ScaleFrame(factor) => return self.scale_frame(factor),
            Command::FrameAutomatic => {
                self.frame = None;
                self.aim();
            }
            Command::ExtendCanvas(by) => return self.extend_canvas(by),
            Command::ChooseModel(id) => return self.choose_model(&id),
            Command::ImportModels(files) => {
                let trained: Vec<PathBuf> = files.iter().filter_map(|file| folder::meant(file)).collect();
                self.open_trained(&trained)?;
                self.import(files.into_iter().filter(|file| folder::meant(file).is_none()).collect(), None);
            }
            Command::ImportWeights(files, averaged) => self.import(files, Some(averaged)),
            Command::Subject(class) if (class as usize) < self.card.subjects.len() => self.settings.subject = class,
            Command::Subject(_) => {}
            Command::Order(name) => {
                let name = order::by_name(name)?.name;
                self.check_order(name)?;
                self.settings.order = name;
            }
            Command::Steps(steps) => self.settings.steps = steps.clamp(1, self.sites()),
            Command::Extent(extent) => return self.take_extent(extent),
            Command::Guidance(scale) => self.settings.guidance = scale.clamp(0.0, 30.0),
            Command::Context(scale) => {
                self.check_context()?;
                self.settings.context = scale.clamp(1.0, MOST_CONTEXT);
            }
            Command::Temperature(temperature) => self.settings.sampling.temperature = temperature.clamp(0.0, 2.0),
            Command::TopK(codes) => self.settings.sampling.top_k = codes,
            Command::TopP(share) => self.settings.sampling.top_p = share.clamp(LEAST_TOP_P, 1.0),
            Command::Smooth(smooth) => {
                let sampling = Sampling { smooth, ..self.settings.sampling };
                self.abilities.check(&sampling)?;
                self.settings.sampling = sampling;
            }
            Command::Seed(seed) => self.settings.seed = seed,
            Command::RollSeed => self.settings.seed = roll(),
            Command::LockSeed(locked) => self.settings.seed_locked = locked,
            Command::Variations(count) => self.settings.variations = count.clamp(1, MOST_VARIATIONS),
            Command::Seam(seam) => {
                seam.check()?;
                self.settings.seam = seam;
                self.aim();
            }
            Command::Generate => return self.generate(),
            Command::Stop => return self.stop(),
            Command::PlayOrPause => return self.play_or_pause(),
            Command::Rewind(steps) => {
                self.timeline.playing = false;
                self.rewind(steps);
            }
            Command::BranchHere => return self.branch(),
            Command::PickToken(at) => return self.pick_at(at),
            Command::PickLast => return self.pick_last(),
            Command::PickNext(forward) => return self.pick_next(forward),
            Command::ClosePicker => self.picker = None,
            Command::Swap { run, choice, redo } => return self.swap(run, choice, redo),
            Command::TakeResult(number) => self.take_result(number),
            Command::PreviousVariation => self.step_variation(false),
            Command::NextVariation => self.step_variation(true),
            Command::AcceptVariation => return self.accept_variation(),
            Command::DiscardVariation => self.discard_variation(),
            Command::Look(view) => self.view = View { zoom: view.zoom.clamp(ZOOMS.0, ZOOMS.1), ..view },
            Command::ZoomFit => self.view.fit = true,
            Command::Zoom100 => self.zoom(1.0 / self.pixels_per_point),
            Command::ZoomBy(factor) => self.zoom(self.view.zoom * factor),
            Command::ShowImage(on) => self.show.image = on,
            Command::ShowTokens(on) => self.show.tokens = on,
            Command::ShowMask(on) => self.show.mask = on,
            Command::ShowBoldness(on) => self.show.boldness = on,
            Command::ShowPixelGrid(on) => self.show.pixel_grid = on,
            Command::ShowHeat(heat) => return self.show_heat(heat),
            Command::MeasureSurprise => return self.measure_surprise(),
            Command::ChooseSurprising(on) => return self.choose_surprising(on),
            Command::Threshold(threshold) => self.take_threshold(threshold),
            Command::ShowMore(on) => self.show.more = on,
            Command::ShowHistory(on) => self.show.history = on,
            Command::ShowOriginal(on) => self.show.original = on,
            Command::Dismiss(number) => self.notices.retain(|notice| notice.number != number),
            Command::Escape => return self.escape(),
            Command::Appear(appearance) => self.prefer(|now| now.appearance = appearance),
            Command::StartFromKeys(preset) => self.prefer(|now| now.keys.start_from(preset)),
            Command::BindKey(action, chord) => return self.bind_key(action, chord),
            Command::ResetKey(action) => self.reset_key(action),
            Command::CloseHint(hint) => self.close_hints([hint]),
            Command::ShowHints => self.prefer(|now| now.hints_done.clear()),
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<()> {
        if self.dialog.is_some() {
            self.dialog = None;
        } else if self.picker.is_some() {
            self.picker = None;
        } else if self.is_painting() {
            self.apply(Command::CancelStroke);
        } else if self.is_selecting_by_surprise() {
            return self.choose_surprising(false);
        } else if self.timeline.head.is_some() {
            self.timeline.playing = false;
            self.timeline.head = None;
        } else {
            return self.stop();
        }
        Ok(())
    }

    fn zoom(&mut self, zoom: f32) {
        self.view = View { zoom: zoom.clamp(ZOOMS.0, ZOOMS.1), fit: false, ..self.view };
    }
}

/// Whether a command needs the picture to stand still: a run that is on is stopped first, and keeps what it made.
fn changes_the_picture(command: &Command) -> bool {
    matches!(
        command,
        Command::Open(_)
            | Command::DropFiles { .. }
            | Command::Paste
            | Command::Recover(_)
            | Command::Undo
            | Command::Redo
            | Command::ExtendCanvas(_)
            | Command::TakeResult(_)
            | Command::GoTo(_)
            | Command::RunAgain { .. }
            | Command::Swap { .. }
            | Command::ChooseModel(_)
    )
}
