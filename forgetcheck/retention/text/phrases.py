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
    "remark": {"en": "{remark}", "ja": "注意：{remark}"},
    "ungated": {
        "en": "Result: no policy was given, so nothing is gated; by the default limit of {limit} points "
        "{failed} of {total} demands failed, {met} are shown to be met.",
        "ja": "結果：基準が指定されていないため合否判定はありません。既定の上限 {limit} ポイントでは "
        "{total} 項目中 {failed} 項目が不合格、{met} 項目は満たすことを確認できました。",
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
    "of-all": {
        "en": "{drop} over all {tasks}, with those that the base never knew",
        "ja": "元のモデルが知らないものも含む全 {tasks} 件では {drop} ポイント",
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
    "uncalibrated": {
        "en": "Surer of itself than it should be: {names}.",
        "ja": "確信度の較正が悪化した項目：{names}。",
    },
    "guessed": {
        "en": "Lost beyond the limit, though the base is not shown to have known rather than guessed it: "
        "{names}.",
        "ja": "上限を超える低下がありますが、元のモデルが知っていたとは確認できない項目：{names}。",
    },
    "small": {
        "en": "Forgotten as well, though nothing of the policy: {names}.",
        "ja": "基準の対象外ですが、性能低下が確認された項目：{names}。",
    },
    "images": {
        "en": "about {least} test images in all would tell, if the drop stays as it is",
        "ja": "低下の程度が変わらなければ、テスト画像が全部でおよそ {least} 枚あれば判定できます",
    },
    "images-same": {
        "en": "about {least} test images for each would tell, if the drop stays as it is",
        "ja": "低下の程度が変わらなければ、それぞれテスト画像が全部でおよそ {least} 枚あれば判定できます",
    },
    "images-each": {
        "en": "about {least} to {most} test images for each would tell, if the drop stays as it is",
        "ja": "低下の程度が変わらなければ、それぞれテスト画像が全部でおよそ {least}〜{most} 枚あれば"
        "判定できます",
    },
    "images-but": {
        "en": ", but of {count} no number would",
        "ja": "（うち {count} 件は画像を増やしても判定できません）",
    },
    "none: near the limit": {
        "en": "they lie so near their limits that no number of images anybody has would tell",
        "ja": "基準値に近すぎるため、画像を増やしても判定できません",
    },
    "none: at the limit": {
        "en": "they lie exactly at their limits, which no number of images can decide",
        "ja": "ちょうど基準値にあるため、画像を増やしても判定できません",
    },
    "none: training images": {
        "en": "more test images would not tell: the probes need more training images",
        "ja": "テスト画像を増やしても判定できません。プローブの学習画像が不足しています",
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
    "next-same": {
        "en": "Next: {names} is the base itself: audit the file that was tuned.",
        "ja": "次の手順：{names} は元のモデルそのものです。ファインチューニング後のファイルを"
        "監査してください。",
    },
    "next-best": {
        "en": "Next: of {count} checkpoints {name} alone is shown to meet the policy; as the best of several "
        "looks better than it is, confirm it on images that did not choose it before you release it.",
        "ja": "次の手順：{count} 個のうち基準を満たすと確認できたのは {name} だけです。複数から選ぶと実際より"
        "良く見えるため、選択に使っていない画像で確認してから採用してください。",
    },
    "next-unsure": {
        "en": "Next: add test images where the evidence is thin before you rely on this result.",
        "ja": "次の手順：この結果に頼る前に、証拠の薄い項目のテスト画像を増やしてください。",
    },
    "next-undecided": {
        "en": "Next: decide yourself what is unsure, or state a limit that can be shown; more images would "
        "not help.",
        "ja": "次の手順：判定できない項目は画像では解決しません。ご自身で判断するか、確認できる上限に"
        "変えてください。",
    },
    "next-guessed": {
        "en": "Next: look at what was lost though the base may have guessed it; it counts as neither kept "
        "nor forgotten.",
        "ja": "次の手順：元のモデルが偶然正解していた可能性のある低下を確認してください。"
        "保持とも忘却とも数えていません。",
    },
    "next-policy": {
        "en": "Next: say what may be lost (`forgetcheck policy init`), and judge this audit by it.",
        "ja": "次の手順：許容できる低下を基準として定め（`forgetcheck policy init`）、この監査を"
        "判定してください。",
    },
    "next-several": {
        "en": "Next: nothing stands against any of the {count} checkpoints by this policy; whichever you "
        "choose by these images, confirm it on others.",
        "ja": "次の手順：この基準では {count} 個のいずれにも支障ありません。この画像で選ぶ場合は、別の画像で"
        "確認してください。",
    },
    "next-fine": {
        "en": "Next: nothing stands against a release by this policy; keep this audit as its record.",
        "ja": "次の手順：この基準では公開に支障ありません。この監査を記録として保管してください。",
    },
}
