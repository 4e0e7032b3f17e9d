package api_test

import (
	"strings"
	"testing"
)

// Each fault of a request is named by its field, with what is allowed and what is nearest to it, in both languages, and
// nothing of what was sent is said.
func TestFaultsOfARequestAreNamed(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "authority")
	const account = `{"name":"new","display_name":"n","organisation":"harbour","password":"long enough a password","roles":["analyst"]}`
	const grant = `{"operator":"harbour","scenario":"s","title":"t","datasets":[{"name":"registry","columns":["a"]}],"mode":"exact","quota":{"jobs_per_day":1,"cells_per_day":1},"until":"2027-06-30T00:00:00Z"}`
	for _, c := range []struct {
		method, path, body string
		english, chinese   []string
	}{
		{"POST", "/api/v1/accounts", strings.Replace(account, "analyst", "analist", 1),
			[]string{"roles (1): must be one of authority,", "did you mean analyst?"}, []string{"roles (1)：只能是 authority、", "是否想写 analyst？"}},
		{"POST", "/api/v1/accounts", strings.Replace(account, `["analyst"]`, `"analyst"`, 1),
			[]string{"roles: must be of type array"}, []string{"roles：类型应为 array"}},
		{"POST", "/api/v1/accounts", strings.Replace(account, `"organisation":"harbour",`, "", 1),
			[]string{"organisation: is missing"}, []string{"organisation：缺少"}},
		{"POST", "/api/v1/accounts", strings.Replace(account, "display_name", "displayname", 1),
			[]string{"displayname: is not known (did you mean display_name?)", "display_name: is missing"}, []string{"displayname：没有该字段（是否想写 display_name？）"}},
		{"POST", "/api/v1/grants", strings.Replace(grant, "2027-06-30T00:00:00Z", "2027-06-31", 1),
			[]string{"until: must be a date-time, such as 2027-06-30T23:59:59+08:00"}, []string{"until：须为 date-time，例如"}},
		{"POST", "/api/v1/grants", strings.Replace(strings.Replace(grant, "exact", "exakt", 1), `"jobs_per_day":1`, `"jobs_per_day":0`, 1),
			[]string{"mode: must be one of", "did you mean exact?", "quota.jobs_per_day: must be at least 1"}, []string{"quota.jobs_per_day：不得小于 1"}},
		{"GET", "/api/v1/releases?state=decidid", "", []string{"query state: must be one of waiting, decided,", "did you mean decided?"}, []string{"query state：只能是"}},
		{"GET", "/api/v1/jobs?limit=many", "", []string{"query limit: "}, []string{"query limit："}},
	} {
		for lang, says := range map[string][]string{"en": c.english, "zh": c.chinese} {
			r := request{method: c.method, path: c.path, as: "authority", header: map[string]string{"Accept-Language": lang}}
			if c.body != "" {
				r.body = c.body
			}
			got := s.do(t, r).want(t, 400, "api.request-invalid")
			text := got.text("detail") + got.text("help")
			for _, say := range says {
				if !strings.Contains(text, say) {
					t.Errorf("%s %s: %q does not say %q", c.path, lang, text, say)
				}
			}
			for _, never := range []string{"/roles", "openapi", "analist", "exakt", "decidid", "many", "2027-06-31"} {
				if strings.Contains(text, never) {
					t.Errorf("%s: %q says %q", c.path, text, never)
				}
			}
		}
	}
}
