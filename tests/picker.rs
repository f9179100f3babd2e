//! The token picker: what else a token could have been, taking it by hand, and that the ledger knows of it.

use std::sync::{Arc, LazyLock, Mutex};

use andamento::command::{Command, Tool};
use andamento::document::Track;
use andamento::editor::{Editor, Phase};
use andamento::files::project;
use andamento::ui::App;
use andamento_model::boldness::Boldness;
use andamento_model::decode::{Knobs, Step};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::Extent;
use andamento_model::lattice::{Site, Token};
use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::{Card, MODELS, Model};
use andamento_model::paint::{Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::sample::{Draw, Guidance, LIKELIEST, Likeliest, Made, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::turn::{Choice, Turns};
use andamento_tests::run_through;
use egui::{Key, PointerButton};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::driven::{Opening, editor, on_screen, press, until, until_ready};
use crate::folder::Folder;

fn draw(logits: &[f32], seed: u64) -> Made {
    let of = Draw { seed, step: 0, site: Site(0), factor: 0 };
    Sampling { top_k: 2, ..Sampling::default() }.draw(logits, &of).expect("a token")
}

#[test]
fn a_draw_keeps_the_likeliest_codes_of_what_it_was_drawn_from() {
    let logits: Vec<f32> = (0..40).map(|code| ((code * 17) % 40) as f32 / 5.0).collect();
    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let made = draw(&logits, 3);
    let kept = made.likeliest.expect("kept");
    let mut all: Vec<(Token, f64)> =
        logits.iter().enumerate().map(|(code, logit)| (code as Token, f64::from(*logit).exp() / sum)).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(kept.codes().len(), LIKELIEST);
    for ((code, probability), (likeliest, exact)) in kept.codes().iter().zip(&all) {
        assert_eq!(code, likeliest);
        assert!((f64::from(*probability) - exact).abs() < 2e-5, "before top-k: {probability}, {exact}");
    }
    let (code, probability) = kept.codes()[made.rank as usize];
    assert!(code == made.token && (probability - made.probability).abs() < 1e-5, "the drawn one is among them");
    assert_eq!(draw(&[0.5, 2.0], 3).likeliest.expect("kept").codes().len(), 2, "no more than there are");

    let text = serde_json::to_string(&kept).expect("writes");
    assert!(text.starts_with(&format!("\"{}:0.", all[0].0)) && text.len() < 120, "{text}");
    assert_eq!(serde_json::from_str::<Likeliest>(&text).expect("reads"), kept);
    for bad in ["7", "7:", ":0.1", "7:2", "7:nan", "-1:0.1", "1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0 9:0"] {
        assert!(Likeliest::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

fn choice(step: usize, site: u32, token: Token) -> Choice {
    Choice { step, site: Site(site), token }
}

#[test]
fn turns_keep_what_was_changed_in_what_is_kept() {
    let knobs = |seed| Knobs { class: 0, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed };
    let mut turns = Turns::default();
    turns.take(5, [], (knobs(1), &Boldness::default()));
    turns.take(9, [choice(2, 7, 70), choice(8, 3, 30)], (knobs(2), &Boldness::default()));
    turns.take(9, [choice(8, 3, 31)], (knobs(2), &Boldness::default()));
    turns.check().expect("they follow each other");
    let kept = |turns: &Turns| -> Vec<(usize, u64, usize)> {
        turns.iter().map(|turn| (turn.kept, turn.knobs.seed, turn.chosen.len())).collect()
    };
    assert_eq!(kept(&turns), [(5, 1, 0), (9, 2, 3)], "the same steps: one turn");
    // Back before both: what was chosen in the steps that stay stays, and these were made with the first knobs.
    let mut back = turns.clone();
    back.take(4, [choice(3, 1, 10)], (knobs(3), &Boldness::default()));
    assert_eq!(kept(&back), [(4, 1, 2)]);
    let chosen: Vec<u32> = back.iter().flat_map(|turn| &turn.chosen).map(|choice| choice.token).collect();
    assert_eq!(chosen, [70, 10]);
    let text = serde_json::to_string(&turns).expect("writes");
    let again: Turns = serde_json::from_str(&text).expect("reads");
    assert!(again == turns && again.check().is_ok());
    let crossed: Turns = serde_json::from_str(&text.replace("\"kept\":9", "\"kept\":5")).expect("reads");
    assert!(crossed.check().is_err());
    let outside: Turns = serde_json::from_str(&text.replace("\"step\":8", "\"step\":9")).expect("reads");
    assert!(outside.check().is_err());
}

/// The bundled model, loaded once.
static MODEL: LazyLock<Mutex<Model>> =
    LazyLock::new(|| Mutex::new(MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads")));

fn tokens(steps: &[Step]) -> Vec<(Site, Token)> {
    steps.iter().flat_map(|step| step.made.iter().map(|made| (made.site, made.token))).collect()
}

/// A token is chosen by hand in the middle, all later ones are made anew, another one is chosen after the run is done, and
/// the run goes on from there with another temperature: the ledger knows all of it, and it can be made again.
#[test]
fn a_ledger_retraces_what_was_chosen_by_hand() {
    let mut model = MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let side = model.card.side;
    let mut mask = Mask::new(side, side);
    mask.fill_rect(Rect::new(0, 0, side, side / 2), 255);
    let picture = Picture::new(image::RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, 90, y as u8])).into());
    let knobs = Knobs { class: 4, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed: 8 };
    let request = Request {
        picture: picture.clone(),
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: "random".into(),
        order_seed: 8,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule: Schedule::Cosine { steps: 24 },
        knobs,
    };
    let mut run = |request: &Request, earlier: &[Step]| {
        let mut painting = paint(&mut model, request, earlier).expect("starts");
        let done = run_through(&mut painting);
        let source = Source::Blank { width: side, height: side };
        let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger");
        (painting.steps().to_vec(), done, ledger)
    };
    let (first, first_picture, _) = run(&request, &[]);
    let mut turns = Turns::default();
    let other = |steps: &[Step], step: usize| {
        let made = steps[step].made[0];
        let codes = made.likeliest.expect("kept");
        let (token, _) = codes.codes().iter().find(|(token, _)| *token != made.token).expect("another code");
        Choice { step, site: made.site, token: *token }
    };

    // Swap and redo later ones.
    let chosen = other(&first, 4);
    let mut earlier = first[..5].to_vec();
    chosen.apply(&mut earlier).expect("it was made");
    turns.take(5, [chosen], (request.knobs, &Boldness::default()));
    let (second, second_picture, _) = run(&request, &earlier);
    assert!(second_picture != first_picture && second[..4] == first[..4]);
    let by_hand: Vec<Site> =
        second.iter().flat_map(|step| &step.made).filter(|made| made.by_hand).map(|m| m.site).collect();
    assert_eq!(by_hand, [chosen.site], "it is marked");
    assert!(second[4].made[0].token == chosen.token && second[4].made[0].probability > 0.0);
    assert!(tokens(&second[5..]) != tokens(&first[5..]), "what comes later answers to it");

    // Swap one of the last ones only.
    let late = other(&second, second.len() - 1);
    let mut all = second.clone();
    late.apply(&mut all).expect("it was made");
    turns.take(all.len(), [late], (request.knobs, &Boldness::default()));
    let (third, third_picture, ledger) = run(&request, &all);
    let changed = tokens(&third).iter().zip(&tokens(&second)).filter(|(a, b)| a != b).count();
    assert!(changed == 1 && third_picture != second_picture, "one token, and the picture");
    let ledger = ledger.with_turns(turns.clone());
    let text = ledger.to_json().expect("writes");
    assert!(!text.contains("likeliest") && text.contains("\"by_hand\": true"));
    let read = Ledger::from_json(&text, "ledger.json").expect("reads");
    assert!(read.replay(&mut model, &picture).expect("replays") == third_picture, "the replay is another picture");
    let again = read.retrace(&mut model, &picture).expect("is retraced");
    assert_eq!(tokens(&again), tokens(&third), "made again, it has other tokens");
    let without = read.with_turns(Turns::default());
    let without = without.retrace(&mut model, &picture).expect("is retraced");
    assert_eq!(tokens(&without), tokens(&first), "without what was chosen it is the first run");

    // On from the middle with another temperature: what was chosen before stays.
    let kept = 12;
    let mut bolder = request.clone();
    bolder.knobs.sampling.temperature = 1.6;
    turns.take(kept, [], (request.knobs, &Boldness::default()));
    let mut painting = paint(&mut model, &bolder, &third[..kept]).expect("starts");
    assert!(painting.by_ref().all(|event| event.is_ok()));
    let fourth = painting.steps().to_vec();
    let source = Source::Blank { width: side, height: side };
    let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger").with_turns(turns);
    drop(painting);
    let again = ledger.retrace(&mut model, &picture).expect("is retraced");
    assert_eq!(tokens(&again), tokens(&fourth));
    assert!(choice(400, 0, 1).apply(&mut fourth.clone()).is_err(), "no such step");
}

fn finish(editor: &mut Editor) {
    until(editor, "the run is done", |editor| editor.run.is_none());
}

fn track(editor: &Editor) -> Arc<Track> {
    editor.document.track.clone().expect("a run")
}

/// The likeliest code of the picked token that it is not.
fn another(editor: &Editor) -> Token {
    let picker = editor.picker.as_ref().expect("a token is looked at");
    picker.alternatives.iter().map(|other| other.token).find(|token| *token != picker.made.token).expect("another code")
}

fn middle(rect: Rect) -> (f32, f32) {
    (rect.x as f32 + rect.width as f32 / 2.0, rect.y as f32 + rect.height as f32 / 2.0)
}

#[test]
fn a_token_is_swapped_alone_or_with_what_came_later() {
    let mut editor = editor();
    editor.apply(Command::Steps(24));
    editor.apply(Command::Generate);
    finish(&mut editor);
    let first = track(&editor);
    let pixels = editor.document.picture.to_rgb8();
    let (step, made) = (3, first.steps[3].made[0]);
    editor.apply(Command::PickToken(middle(first.rect(step, made.site))));
    let picker = editor.picker.as_ref().expect("a token is looked at");
    assert_eq!((picker.step, picker.made), (step, made));
    assert!((LIKELIEST..=LIKELIEST + 1).contains(&picker.alternatives.len()));
    assert!(picker.alternatives.iter().any(|other| other.token == made.token), "the token itself is among them");
    assert!(picker.alternatives.windows(2).take(LIKELIEST - 1).all(|pair| pair[0].probability >= pair[1].probability));
    // Pictures arrive one after the other, and differ.
    let count = |editor: &Editor| {
        editor.picker.as_ref().map_or(0, |picker| picker.alternatives.iter().filter(|it| it.picture.is_some()).count())
    };
    until(&mut editor, "two pictures are here", |editor| count(editor) == 2);
    until(&mut editor, "three pictures are here", |editor| count(editor) == 3);
    let picker = editor.picker.as_ref().expect("it stays open");
    let stride = first.legs[0].frame.size[0] / first.legs[0].plan.lattice.finest().cols as u32;
    let pictures: Vec<_> = picker.alternatives.iter().filter_map(|other| other.picture.clone()).collect();
    assert!(pictures.iter().all(|picture| picture.dimensions() == (5 * stride, 5 * stride)));
    assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2]);

    // This token alone.
    let token = another(&editor);
    let swap = editor.picker.as_ref().map(|picker| picker.swap(token, false)).expect("it is open");
    editor.apply(swap);
    assert!(editor.picker.is_none(), "it closes");
    finish(&mut editor);
    let second = track(&editor);
    let differing = tokens(&first.steps).iter().zip(&tokens(&second.steps)).filter(|(a, b)| a != b).count();
    assert_eq!((differing, editor.results.len(), editor.history.depth()), (1, 2, 2));
    let label = format!("Swap token {}", made.site.0);
    assert_eq!(editor.history.undo_label(), Some(&*label));
    assert!(second.steps[step].made[0].by_hand && second.is_complete());
    let swapped = editor.document.picture.to_rgb8();
    assert!(swapped != pixels, "it is seen");
    let mask = &editor.document.mask;
    assert!(mask.bytes().iter().zip(pixels.pixels().zip(swapped.pixels())).all(|(mask, (a, b))| *mask > 0 || a == b));

    // With what came later, from the first picture.
    editor.apply(Command::Undo);
    assert!(editor.document.picture.to_rgb8() == pixels);
    editor.apply(Command::PickToken(middle(first.rect(step, made.site))));
    let swap = editor.picker.as_ref().map(|picker| picker.swap(token, true)).expect("it is open");
    editor.apply(swap);
    finish(&mut editor);
    let third = track(&editor);
    assert!(third.is_complete() && third.steps[..step] == first.steps[..step]);
    assert_eq!(third.steps[step].made[0].token, token);
    assert!(tokens(&third.steps[step + 1..]) != tokens(&first.steps[step + 1..]), "made anew");
    assert_eq!(third.turns.iter().map(|turn| (turn.kept, turn.chosen.len())).collect::<Vec<_>>(), [(step + 1, 1)]);

    // A project keeps what was chosen and what else there was.
    let folder = Folder::new("picker");
    let file = folder.0.join("a.andamento");
    project::save(&file, &editor.snapshot()).expect("it is saved");
    let read = project::open(&file).expect("it is read");
    let kept = read.entries[read.at].document.track.clone().expect("its run");
    assert!(kept.steps == third.steps && kept.turns == third.turns);

    // From the keyboard: the last token, and those before it.
    editor.apply(Command::PickLast);
    let last = editor.picker.as_ref().map(|picker| picker.made);
    assert_eq!(last.as_ref(), third.steps.last().and_then(|step| step.made.last()));
    editor.apply(Command::PickNext(true));
    assert_eq!(editor.picker.as_ref().map(|picker| picker.made), last, "there is none after it");
    editor.apply(Command::PickNext(false));
    assert!(editor.picker.as_ref().is_some_and(|picker| Some(picker.made) != last));
    editor.apply(Command::Escape);
    assert!(editor.picker.is_none());
}

#[test]
fn a_paused_run_shows_alternatives_and_goes_on_with_one() {
    let mut editor = editor();
    editor.apply(Command::Steps(256));
    editor.apply(Command::Generate);
    let made = |editor: &Editor| editor.track().map_or(0, |track| track.steps.len());
    until(&mut editor, "some steps are made", |editor| editor.run.is_some() && made(editor) >= 3);
    editor.apply(Command::PlayOrPause);
    until(&mut editor, "it rests", |editor| editor.run.as_ref().is_some_and(|run| run.phase == Phase::Paused));
    editor.apply(Command::PickLast);
    let picker = editor.picker.as_ref().expect("a token is looked at");
    let (step, site, number) = (picker.step, picker.made.site, picker.track.number);
    until(&mut editor, "a picture is here", |editor| {
        editor.picker.as_ref().is_some_and(|picker| picker.alternatives[0].picture.is_some())
    });
    let token = another(&editor);
    let choice = Choice { step, site, token };
    // Only this token: the run is stopped, and stays as far as it is.
    editor.apply(Command::Swap { run: number, choice, redo: false });
    until(&mut editor, "it has stopped and swapped", |editor| {
        let swapped = editor.document.track.as_ref().is_some_and(|track| !track.turns.is_empty());
        editor.run.is_none() && swapped
    });
    let stopped = track(&editor);
    let here = |track: &Track| track.steps[step].made.iter().find(|made| made.site == site).map(|made| made.token);
    assert!(!stopped.is_complete() && here(&stopped) == Some(token));
    assert_eq!(editor.history.depth(), 2, "what was stopped, and what was swapped in it");
    // It goes on from there.
    editor.apply(Command::PlayOrPause);
    finish(&mut editor);
    let whole = track(&editor);
    assert!(whole.is_complete() && here(&whole) == Some(token));
    assert!(whole.steps[..stopped.steps.len()] == stopped.steps[..]);
    assert_eq!(whole.turns, stopped.turns);
}

#[test]
fn the_picker_says_why_it_cannot_be_had() {
    for family in andamento_model::networks::FAMILIES {
        for preset in (family.presets)() {
            let abilities = Card::published(family.name, preset.name).expect("a card").abilities().expect("abilities");
            let has = abilities.check_choice().is_ok();
            // TensorAR revises its tokens, except where its windows have one slot.
            let wants = !matches!(family.name, "VAR" | "TensorAR");
            assert_eq!(has, wants, "{} {}", family.name, preset.name);
        }
    }
    let mut editor = editor();
    let told = |editor: &mut Editor| editor.notices.drain(..).map(|notice| notice.cause).collect::<Vec<_>>().join(" ");
    editor.apply(Command::PickLast);
    assert!(told(&mut editor).contains("no run"));
    editor.apply(Command::Steps(4));
    editor.apply(Command::Generate);
    finish(&mut editor);
    editor.apply(Command::PickToken((1.0, 1.0)));
    assert!(told(&mut editor).contains("no token was made here") && editor.picker.is_none());
    editor.apply(Command::PickLast);
    let picker = editor.picker.as_ref().expect("it opens");
    let (step, made, number) = (picker.step, picker.made, picker.track.number);
    let same = Choice { step, site: made.site, token: made.token };
    editor.apply(Command::Swap { run: number, choice: same, redo: false });
    assert!(told(&mut editor).contains("already") && editor.run.is_none());
    editor.apply(Command::Swap { run: number + 1, choice: same, redo: false });
    assert!(told(&mut editor).contains("did not make this picture"));
    let abilities = Card::published("VAR", "d16").expect("a card").abilities().expect("abilities");
    editor.abilities = abilities;
    editor.apply(Command::Choose(Tool::Picker));
    assert!(told(&mut editor).contains("scales") && editor.brush.tool == Tool::Brush);
}

#[test]
fn the_popover_has_a_name_for_everything_and_swaps() {
    let mut window = Opening::default().window();
    until_ready(&mut window);
    window.state_mut().editor.apply(Command::Steps(8));
    window.state_mut().editor.apply(Command::Generate);
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    window.key_press(Key::T);
    window.run_steps(2);
    assert_eq!(window.state().editor.brush.tool, Tool::Picker);
    let made = track(&window.state().editor);
    let (x, y) = middle(made.rect(0, made.steps[0].made[0].site));
    let at = on_screen(&window, x, y);
    let press = |pressed| press(at, PointerButton::Primary, pressed, egui::Modifiers::NONE);
    window.hover_at(at);
    window.step();
    window.event(press(true));
    window.step();
    window.event(press(false));
    window.run_steps(3);
    assert!(window.state().editor.picker.is_some(), "a click opens it");
    let disabled = |window: &Harness<'_, App>, label: &str| window.get_by_label(label).accesskit_node().is_disabled();
    assert!(disabled(&window, "Swap") && disabled(&window, "Swap and redo later ones"), "it is that token already");
    let first = made.steps[0].made[0].site;
    let site = |window: &Harness<'_, App>| window.state().editor.picker.as_ref().map(|picker| picker.made.site);
    window.get_by_label("Next token").click();
    window.run_steps(4);
    assert_eq!(site(&window), Some(made.steps[1].made[0].site));
    window.get_by_label("Previous token").click();
    window.run_steps(4);
    assert_eq!(site(&window), Some(first));
    let (token, name) = {
        let picker = window.state().editor.picker.as_ref().expect("it is open");
        let place = picker.alternatives.iter().position(|other| other.token != picker.made.token).expect("another");
        (
            picker.alternatives[place].token,
            format!("Alternative {}: code {},", place + 1, picker.alternatives[place].token),
        )
    };
    window.get_by_label_contains(&name).click();
    window.run_steps(2);
    assert!(!disabled(&window, "Swap and redo later ones"));
    window.get_by_label("Swap").click();
    window.run_steps(2);
    until(&mut window, "it is swapped", |editor| editor.run.is_none());
    let swapped = track(&window.state().editor);
    assert_eq!(swapped.steps[0].made[0].token, token);
    window.state_mut().editor.apply(Command::PickLast);
    window.run_steps(2);
    window.get_by_label("Close alternatives").click();
    window.run_steps(2);
    assert!(window.state().editor.picker.is_none());
}
