package problem

import "testing"

func TestPlainCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "杭州": "杭州", "a=1": "a=1", " a": " a", "1-2": "1-2", "（1）": "（1）", "ａ": "ａ",
		"=1": "'=1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\ta": "'\ta", "\ra": "'\ra", "\na": "'\na",
		" =1": "' =1", "　=1": "'　=1", "\u00a0=1": "'\u00a0=1", "\u200b=1": "'\u200b=1", "\ufeff=1": "'\ufeff=1", "\x00=1": "'\x00=1",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠a": "'＠a", " ＝1": "' ＝1",
	} {
		if got := PlainCell(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
