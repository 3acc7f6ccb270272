"""Phrases of the executive summary, in every language it is written in."""

from typing import Literal

Language = Literal["en", "ja"]

JOIN: dict[Language, str] = {"en": "; ", "ja": "。"}
STOP: dict[Language, str] = {"en": ".", "ja": "。"}
COMMA: dict[Language, str] = {"en": ", ", "ja": "、"}
MORE: dict[Language, str] = {"en": "{names} and {count} more", "ja": "{names} ほか {count} 件"}

SAID: dict[str, dict[Language, str]] = {
    "tried": {
        "en": "{tuned} compared with {base} (tasks: {tasks}, questions: {questions}, images: {images}).",
        "ja": "{base} と {tuned} を比較しました（タスク {tasks}、設問 {questions}、画像 {images} 枚）。",
    },
    "passed": {
        "en": "Result: the policy is met (demands shown to be met: {met} of {total}).",
        "ja": "結果：基準を満たしています（{total} 項目中 {met} 項目で確認）。",
    },
    "passed-unsure": {
        "en": "Result: no demand failed, but not all were shown to be met ({met} of {total}).",
        "ja": "結果：不合格の項目はありませんが、満たすことを確認できたのは {total} 項目中 {met} 項目です。",
    },
    "failed": {
        "en": "Result: the policy is NOT met (demands failed: {failed} of {total}).",
        "ja": "結果：基準を満たしていません（{total} 項目中 {failed} 項目が不合格）。",
    },
    "doubted": {
        "en": "Result: the policy is NOT met (demands that could not be decided: {unsure} of {total}).",
        "ja": "結果：基準を満たしていません（{total} 項目中 {unsure} 項目は判定できませんでした）。",
    },
    "nothing": {
        "en": "Result: the policy is NOT met, because nothing was measured that it demands.",
        "ja": "結果：基準を満たしていません。基準が求めるものを何も測定できませんでした。",
    },
    "target": {
        "en": "{task}, which it was tuned on, went from {base} to {tuned}",
        "ja": "ファインチューニング対象の {task} の正解率は {base} から {tuned} に変化",
    },
    "lost": {
        "en": "{which} ({tasks}) lost {drop} points on average "
        "[{low} to {high}, {probe}], most of all {worst} ({worst_drop})",
        "ja": "{which}（{tasks} 件）で平均 {drop} ポイント低下 [{low}〜{high}、{probe}]、"
        "最大は {worst} の {worst_drop}",
    },
    "kept": {
        "en": "{which} ({tasks}) lost nothing on average ({drop} points [{low} to {high}], {probe})",
        "ja": "{which}（{tasks} 件）で平均の低下なし（{drop} ポイント [{low}〜{high}]、{probe}）",
    },
    "others": {"en": "the other tasks", "ja": "他のタスク"},
    "all": {"en": "the tasks", "ja": "全タスク"},
    "more": {
        "en": "Further checkpoints, in the tables: {count}.",
        "ja": "ほか {count} 個のモデルは表をご覧ください。",
    },
    "forgot": {
        "en": "Shown to be lost: {names}.",
        "ja": "性能低下が確認された項目：{names}。",
    },
    "known": {
        "en": "Still known although it had to be forgotten: {names}.",
        "ja": "忘れるべきなのに残っている知識：{names}。",
    },
    "short": {
        "en": "Not good enough at what it was tuned for: {names}.",
        "ja": "ファインチューニング対象の正解率が不足：{names}。",
    },
    "enough": {
        "en": "The evidence suffices: every demand could be decided.",
        "ja": "証拠は十分です。すべての項目を判定できました。",
    },
    "scarce": {
        "en": "The evidence does not suffice for {count} of the demands ({names}); {images}.",
        "ja": "証拠が不十分な項目が {count} 件あります（{names}）。{images}。",
    },
    "images": {
        "en": "about {least} test images in all would tell",
        "ja": "テスト画像が全部でおよそ {least} 枚あれば判定できます",
    },
    "images-each": {
        "en": "about {least} to {most} test images for each would tell",
        "ja": "それぞれテスト画像が全部でおよそ {least}〜{most} 枚あれば判定できます",
    },
    "no-images": {
        "en": "they lie so near their limits that more images may not tell",
        "ja": "基準値に近すぎるため、画像を増やしても判定できない可能性があります",
    },
    "next-unasked": {
        "en": "Next: mend what could not be asked ({names}; the report says why) and audit again.",
        "ja": "次の手順：測定できなかった項目（{names}。原因はレポートに記載）を直し、再度監査してください。",
    },
    "next-failed": {
        "en": "Next: don't release {names}; tune again with a regularizer (a stronger one, if there was one) "
        "or a gentler schedule, then audit with the same policy.",
        "ja": "次の手順：{names} は公開せず、正則化を加える（すでにあれば強める）か、学習率を下げるなど"
        "控えめな設定で再学習し、同じ基準で再監査してください。",
    },
    "next-known": {
        "en": "Next: don't release {names} before what must be forgotten is gone.",
        "ja": "次の手順：忘れるべき知識が消えるまで {names} を公開しないでください。",
    },
    "next-best": {
        "en": "Next: {name} is the checkpoint that meets the policy; release that one.",
        "ja": "次の手順：基準を満たす {name} を採用してください。",
    },
    "next-unsure": {
        "en": "Next: add test images where the evidence is thin before you rely on this result.",
        "ja": "次の手順：この結果に頼る前に、証拠の薄い項目のテスト画像を増やしてください。",
    },
    "next-fine": {
        "en": "Next: nothing stands against a release by this policy; keep this audit as its record.",
        "ja": "次の手順：この基準では公開に支障ありません。この監査を記録として保管してください。",
    },
}
