//! The charts: lines by percentile, histograms, dots over time, bars. All values have a log axis.
//!
//! The colours in `report.css` replace those of ink, paper and grid, which depend on the reader's theme.

use plotters::{
    chart::{ChartBuilder, ChartContext, MeshStyle},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        combinators::{BindKeyPoints, IntoLogRange, LogCoord, WithKeyPoints},
        ranged1d::{Ranged, ValueFormatter},
    },
    element::{Circle, PathElement, Rectangle},
    prelude::{Color, DrawingArea, HSLColor, IntoDrawingArea, IntoFont, RGBColor, SVGBackend},
    style::{
        TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::escaped;
use crate::{Error, stats::Distribution, units};

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const SOFT: RGBColor = RGBColor(0x59, 0x63, 0x6e);
const GRID: RGBColor = RGBColor(0xd9, 0xdb, 0xde);

const MARKS: [f64; 3] = [1.0, 2.0, 5.0];
/// The factors of ten up to which all marks are labelled; on a longer axis, only the first is.
const ALL_MARKS_UP_TO: f64 = 2.5;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of a subject. Ringbridge's lines are a little wider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Paint {
    pub(super) colour: RGBColor,
    width: u32,
}

/// Colours for the subjects of one kind: hue, saturation and lightness in per cent.
pub(crate) type Colours = &'static [[u8; 3]];
#[rustfmt::skip]
pub(crate) const OURS: Colours = &[
    [0, 80, 43], [8, 90, 46], [92, 65, 48], [97, 45, 34], [6, 55, 34], [88, 40, 34], [13, 85, 43], [3, 50, 58],
];
#[rustfmt::skip]
pub(crate) const FLOORS: Colours = &[
    [61, 6, 48], [8, 22, 48], [44, 16, 43], [61, 6, 65], [83, 12, 48], [17, 16, 53], [56, 14, 36],
];
#[rustfmt::skip]
pub(crate) const OTHERS: Colours = &[
    [60, 70, 48], [42, 60, 41], [76, 55, 50], [53, 75, 43], [25, 50, 38], [68, 60, 53], [47, 45, 55], [83, 45, 43],
    [56, 45, 60], [35, 40, 53],
];

impl Paint {
    /// Returns the colour of the subject with this number among those of its kind.
    pub(crate) fn of(colours: Colours, number: usize) -> Self {
        let [hue, saturation, lightness] =
            colours[number % colours.len()].map(|part| f64::from(part) / 100.0);
        let (red, green, blue) = HSLColor(hue, saturation, lightness).to_backend_color().rgb;
        let width = if colours == OURS { 3 } else { 2 };
        Self { colour: RGBColor(red, green, blue), width }
    }
}

pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) paint: Paint,
    pub(crate) all: Distribution,
}

pub(crate) struct Outlier<'a> {
    pub(crate) name: &'a str,
    pub(crate) paint: Paint,
    /// When it began, in seconds since the run did.
    pub(crate) at_s: f64,
    pub(crate) length_ns: f64,
}

/// A bar with its name, its value and the ends of its spread.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) paint: Paint,
    pub(crate) value: f64,
    pub(crate) ends: Option<(f64, f64)>,
    pub(crate) label: String,
}

#[derive(Clone)]
pub(super) struct LogAxis {
    min: f64,
    max: f64,
    labelled: Vec<f64>,
}

impl LogAxis {
    pub(super) fn around(values: impl Iterator<Item = f64>) -> Self {
        // The marks are computed, so they are inexact by a little.
        const CLOSE: f64 = 1e-9;
        let (min, max) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(min, max), value| (min.min(value), max.max(value)));
        let (min, max) = if min > max { (1.0, 10.0) } else { (min, max) };
        let decades = min.log10().floor() as i32..=max.log10().ceil() as i32;
        let marks = decades.flat_map(|decade| MARKS.map(|mark| mark * power_of_ten(decade)));
        let marks: Vec<f64> = marks.collect();
        let first = marks.iter().rposition(|mark| *mark <= min * (1.0 + CLOSE)).unwrap_or(0);
        let last = marks.iter().position(|mark| *mark >= max * (1.0 - CLOSE));
        let last = last.unwrap_or(marks.len() - 1).max(first + 1);
        let (min, max) = (marks[first], marks[last]);
        let every = if (max / min).log10() <= ALL_MARKS_UP_TO { 1 } else { MARKS.len() };
        let labelled = (first..=last).filter(|number| number.is_multiple_of(every));
        Self { min, max, labelled: labelled.map(|number| marks[number]).collect() }
    }

    fn coord(&self) -> WithKeyPoints<LogCoord<f64>> {
        (self.min..self.max).log_scale().with_key_points(self.labelled.clone())
    }
}

/// Draws a picture, and returns its `svg` element. `label` describes it to readers who do not see it.
fn draw(
    label: &str,
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    paint(&area)?;
    area.present()?;
    drop(area);
    let label = format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(label));
    Ok(svg.replacen("<svg ", &label, 1))
}

fn font(colour: RGBColor, size: f64, anchor: (HPos, VPos)) -> TextStyle<'static> {
    // plotters divides a size by 1.24.
    let font = ("system-ui, sans-serif", size * 1.24).into_font();
    TextStyle {
        color: colour.to_backend_color(),
        pos: Pos::new(anchor.0, anchor.1),
        ..TextStyle::from(font)
    }
}

const LEFT: (HPos, VPos) = (HPos::Left, VPos::Center);
const RIGHT: (HPos, VPos) = (HPos::Right, VPos::Center);

/// Draws the grid and the labels of the axes. Without a formatter, the axis up has none.
fn draw_grid<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    x_label: &dyn Fn(&f64) -> String,
    y_label: Option<&dyn Fn(&f64) -> String>,
    x_title: &str,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh: MeshStyle<'_, '_, X, Y, SVGBackend<'_>> = chart.configure_mesh();
    mesh.max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(font(INK, 12.0, (HPos::Left, VPos::Top)))
        .x_label_formatter(x_label)
        .x_desc(x_title);
    match y_label {
        Some(y_label) => mesh.y_label_formatter(y_label),
        None => mesh.y_labels(0),
    };
    Ok(mesh.draw()?)
}

/// Draws the percentiles of all series, with their names and medians beside them. With a title and a note,
/// the chart is a page of its own.
pub(super) fn percentiles(
    label: &str,
    note: Option<&str>,
    series: &[Series<'_>],
) -> Result<String, Error> {
    const NAMES: u32 = 250;
    let head = if note.is_some() { 48 } else { 0 };
    draw(label, (860, 400 + head), |area| {
        if let Some(note) = note {
            area.fill(&WHITE)?;
            let title = font(INK, 16.0, (HPos::Left, VPos::Bottom));
            area.draw_text(label, &title, (16, 26))?;
            area.draw_text(note, &font(SOFT, 12.0, (HPos::Left, VPos::Bottom)), (16, 45))?;
        }
        let curves: Vec<_> = series.iter().map(|each| each.all.curve()).collect();
        let values = curves.iter().flatten().map(|point| point.1 as f64);
        let up = LogAxis::around(values);
        let nines = curves.iter().filter_map(|curve| Some(curve.last()?.0)).fold(0.0, f64::max);
        // The axis is 1 / (1 - quantile): each nine takes the same room.
        let across = LogAxis {
            min: 1.0,
            max: 10_f64.powf(if nines > 0.0 { nines } else { 1.0 }),
            labelled: [1.0, 2.0].into_iter().chain((1..=nines as i32).map(power_of_ten)).collect(),
        };
        let mut chart = ChartBuilder::on(area)
            .margin_top(12 + head)
            .margin_right(NAMES)
            .x_label_area_size(40)
            .y_label_area_size(66)
            .build_cartesian_2d(across.coord(), up.coord())?;
        let time = |value: &f64| units::round_time(*value);
        draw_grid(&mut chart, &percentile, Some(&time), "percentile")?;
        let mut names = Vec::new();
        for (each, curve) in series.iter().zip(&curves) {
            let points = curve
                .iter()
                .map(|&(nines, value)| (10_f64.powf(nines), value as f64))
                .collect::<Vec<_>>();
            let line = each.paint.colour.stroke_width(each.paint.width);
            chart.draw_series([PathElement::new(points, line)])?;
            let p50 = each.all.at(0.5) as f64;
            let (_, y) = chart.backend_coord(&(1.0, p50.clamp(up.min, up.max)));
            names.push((y, each, p50));
        }
        let (x, _) = chart.backend_coord(&(across.max, up.min));
        let ends = [up.max, up.min].map(|value| chart.backend_coord(&(1.0, value)).1);
        names.sort_by_key(|(y, ..)| *y);
        let places = spread_out(names.iter().map(|(y, ..)| *y), ends);
        for ((_, each, p50), y) in names.iter().zip(places) {
            let line = each.paint.colour.stroke_width(each.paint.width);
            area.draw(&PathElement::new([(x + 14, y), (x + 28, y)], line))?;
            let name = format!("{} {}", each.name, units::time(*p50));
            area.draw_text(&name, &font(INK, 12.0, LEFT), (x + 34, y))?;
        }
        Ok(())
    })
}

fn power_of_ten(exponent: i32) -> f64 {
    10_f64.powi(exponent)
}

fn percentile(place: &f64) -> String {
    if *place <= 1.0 {
        return "0".to_owned();
    }
    let nines = place.log10().round() as usize;
    format!("{:.*} %", nines.saturating_sub(2), 100.0 - 100.0 / place)
}

/// Moves sorted heights apart until a line of text fits between them, or as far as there is room.
fn spread_out(places: impl ExactSizeIterator<Item = i32>, [top, bottom]: [i32; 2]) -> Vec<i32> {
    let count = places.len().max(1) as i32;
    let distance = 15.min((bottom - top) / count);
    let mut next = top;
    let mut moved: Vec<i32> = Vec::new();
    for (number, place) in (0..).zip(places) {
        // Below the one before, and above the room of those that follow.
        let place = place.max(next).min(bottom - (count - 1 - number) * distance);
        moved.push(place);
        next = place + distance;
    }
    moved
}

/// Draws how often each time occurred. Both axes are log axes: one sample in a million is visible too.
pub(super) fn histogram(label: &str, across: &LogAxis, each: &Series<'_>) -> Result<String, Error> {
    let columns = each.all.columns();
    let up = LogAxis::around(columns.iter().map(|column| column.share).chain([1.0]));
    draw(label, (430, 190), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(12)
            .margin_right(24)
            .x_label_area_size(26)
            .y_label_area_size(82)
            .build_cartesian_2d(across.coord(), up.coord())?;
        let share = |value: &f64| units::round_share(*value);
        draw_grid(&mut chart, &|value| units::round_time(*value), Some(&share), "")?;
        let fill = each.paint.colour.filled();
        chart.draw_series(columns.iter().map(|column| {
            Rectangle::new([(column.from, up.min), (column.to, column.share)], fill)
        }))?;
        Ok(())
    })
}

pub(super) fn dots(label: &str, outliers: &[Outlier<'_>]) -> Result<String, Error> {
    let end = outliers.iter().map(|outlier| outlier.at_s).fold(0.0, f64::max);
    let up = LogAxis::around(outliers.iter().map(|each| each.length_ns));
    draw(label, (860, 380), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(12)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(66)
            .build_cartesian_2d(0.0..if end > 0.0 { end } else { 1.0 }, up.coord())?;
        let time = |value: &f64| units::round_time(*value);
        let seconds = |value: &f64| format!("{value:.1} s");
        draw_grid(&mut chart, &seconds, Some(&time), "since the run began")?;
        chart.draw_series(outliers.iter().map(|each| {
            Circle::new((each.at_s, each.length_ns), 3, each.paint.colour.mix(0.75).filled())
        }))?;
        Ok(())
    })
}

pub(super) fn bars(
    label: &str,
    bars: &[Bar<'_>],
    tick: &dyn Fn(f64) -> String,
) -> Result<String, Error> {
    const ROW: u32 = 20;
    let ends = |bar: &Bar<'_>| bar.ends.unwrap_or((bar.value, bar.value));
    // The axis begins before the shortest bar, so that this one is visible too.
    let values = bars.iter().flat_map(|bar| [bar.value / 2.0, ends(bar).0 / 2.0, ends(bar).1]);
    let across = LogAxis::around(values);
    let rows = bars.len() as f64;
    draw(label, (860, ROW * bars.len() as u32 + 24), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_left(200)
            .margin_right(190)
            .x_label_area_size(24)
            .build_cartesian_2d(across.coord(), rows..0.0)?;
        draw_grid(&mut chart, &|value| tick(*value), None, "")?;
        for (number, bar) in bars.iter().enumerate() {
            let top = number as f64;
            let rectangle = [(across.min, top + 0.2), (bar.value, top + 0.8)];
            chart.draw_series([Rectangle::new(rectangle, bar.paint.colour.filled())])?;
            if let Some((least, most)) = bar.ends {
                let spread = vec![(least, top + 0.5), (most, top + 0.5)];
                chart.draw_series([PathElement::new(spread, INK.stroke_width(2))])?;
            }
            let (x, y) = chart.backend_coord(&(ends(bar).1.max(bar.value), top + 0.5));
            area.draw_text(bar.name, &font(INK, 12.0, RIGHT), (194, y))?;
            area.draw_text(&bar.label, &font(INK, 12.0, LEFT), (x + 6, y))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<f64> {
        LogAxis::around(values.iter().copied()).labelled.iter().map(|mark| mark.round()).collect()
    }

    #[test]
    fn a_log_axis_goes_from_mark_to_mark_around_its_values() {
        let axis = LogAxis::around([130.0, 90_000.0].into_iter());
        assert_eq!((axis.min.round(), axis.max.round()), (100.0, 100_000.0));
        assert_eq!(labels(&[130.0, 90_000.0]), [100.0, 1e3, 1e4, 1e5]);
        assert_eq!(labels(&[1.0, 2.07, 20.1]), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(labels(&[200.0; 3]), [200.0, 500.0]);
        assert_eq!(labels(&[]), [1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn a_percentile_is_named_by_its_nines() {
        let names = [1.0, 2.0, 10.0, 100.0, 1e3, 1e6].map(|place| percentile(&place));
        assert_eq!(names, ["0", "50 %", "90 %", "99 %", "99.9 %", "99.9999 %"]);
    }

    #[test]
    fn names_that_are_too_close_move_apart_within_the_chart() {
        let moved = |places: &[i32]| spread_out(places.iter().copied(), [0, 100]);
        assert_eq!(moved(&[10, 50, 90]), [10, 50, 90]);
        assert_eq!(moved(&[50, 50, 60]), [50, 65, 80]);
        assert_eq!(moved(&[98, 99, 100]), [70, 85, 100]);
        assert!(moved(&[]).is_empty());
    }

    #[test]
    fn subjects_have_different_colours() {
        let all = [OURS, FLOORS, OTHERS].map(|kind| (0..kind.len()).map(|n| Paint::of(kind, n)));
        let paints: Vec<_> = all.into_iter().flatten().collect();
        for (number, paint) in paints.iter().enumerate() {
            assert!(!paints[..number].contains(paint), "{number}");
        }
    }
}
