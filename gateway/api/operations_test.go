package api_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/audit"
	privacy "weir/export/account"
	"weir/gateway"
	"weir/gateway/api"
	"weir/gateway/gatewaytest"
)

func (s *site) testPlatform(t *testing.T) {
	s.do(t, request{method: "GET", path: "/livez"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: "/readyz"}).want(t, 200, "")
	s.ready = fmt.Errorf("the engine said: %s", gatewaytest.Secret)
	s.do(t, request{method: "GET", path: "/readyz"}).want(t, 503, "api.not-ready")
	s.ready = nil
	got := s.do(t, request{method: "GET", path: "/api/v1/openapi.yaml"}).want(t, 200, "")
	if !bytes.Equal(got.body, api.Specification) {
		t.Error("the specification that is served is another one")
	}
	s.do(t, request{method: "GET", path: "/.well-known/openid-configuration"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: "/.well-known/jwks.json"}).want(t, 200, "")
	got = s.do(t, request{method: "GET", path: "/metrics", as: "maintainer"}).want(t, 200, "")
	if !bytes.Contains(got.body, []byte(`weir_http_requests_total{method="GET",route="/livez",status="200"} 1`)) {
		t.Errorf("metrics: %s", got.body)
	}
	s.do(t, request{method: "GET", path: "/metrics", as: "analyst"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: "/metrics"}).want(t, 401, "api.no-token")
	s.do(t, request{method: "GET", path: "/nothing"}).want(t, 404, "api.no-such-path")
	s.do(t, request{method: "PUT", path: "/livez", body: object{}}).want(t, 405, "api.no-such-method")
}

func (s *site) testSession(t *testing.T) {
	got := s.do(t, request{method: "GET", path: "/api/v1/session", as: "analyst"}).want(t, 200, "")
	if got.text("subject") != "analyst" || got.text("organisation") != "harbour" {
		t.Errorf("got %s", got.body)
	}
	wrong := object{"account": "analyst", "password": "wrong " + gatewaytest.Password}
	s.do(t, request{method: "POST", path: "/api/v1/session", body: wrong}).want(t, 401, "identity.sign-in-failed")

	// A session of its own, that ends here.
	s.Admit(t)
	in := s.do(t, request{method: "POST", path: "/api/v1/session", body: object{"account": "colleague", "password": gatewaytest.Password}}).want(t, 200, "")
	renewed := s.do(t, request{method: "POST", path: "/api/v1/session/refresh", body: object{"refresh_token": in.text("refresh_token")}}).want(t, 200, "")
	s.tokens["gone"] = renewed.text("access_token")
	s.do(t, request{method: "GET", path: "/api/v1/session", as: "gone"}).want(t, 200, "")
	s.do(t, request{method: "DELETE", path: "/api/v1/session", as: "gone"}).want(t, 204, "")
	s.do(t, request{method: "GET", path: "/api/v1/session", as: "gone"}).want(t, 401, "identity.session-ended")
	s.do(t, request{method: "POST", path: "/api/v1/session/refresh", body: object{"refresh_token": renewed.text("refresh_token")}}).want(t, 401, "identity.session-ended")
	s.do(t, request{method: "GET", path: "/api/v1/session", as: "colleague"}).want(t, 200, "")

	const next = "another battery, another staple"
	change := object{"current": "not the password at all", "next": next}
	s.do(t, request{method: "POST", path: "/api/v1/session/password", as: "colleague", body: change}).want(t, 401, "identity.sign-in-failed")
	change["current"], change["next"] = gatewaytest.Password, "short"
	s.do(t, request{method: "POST", path: "/api/v1/session/password", as: "colleague", body: change}).want(t, 422, "identity.password-weak")
	change["next"] = next
	s.do(t, request{method: "POST", path: "/api/v1/session/password", as: "colleague", body: change}).want(t, 204, "")
	s.do(t, request{method: "GET", path: "/api/v1/session", as: "colleague"}).want(t, 401, "identity.session-ended")
}

func (s *site) testAccounts(t *testing.T) {
	account := object{"name": "newcomer", "display_name": "王新", "organisation": "Harbour ", "roles": []string{"analyst"}}
	create := func(as string) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/accounts", as: as, body: account})
	}
	create("analyst").want(t, 403, "policy.forbidden")
	create("authority").want(t, 403, "policy.account-operator")
	made := create("operator").want(t, 201, "")
	if one := made.object(t, "account"); one["name"] != "newcomer" || one["organisation"] != "harbour" || one["first_password"] != true {
		t.Errorf("made %v", one)
	}
	create("operator").want(t, 409, "identity.account-exists")
	account["name"], account["roles"] = "both", []string{"analyst", "officer"}
	create("authority").want(t, 422, "policy.account-roles")
	account["organisation"], account["roles"] = "nobody's", []string{"provider"}
	create("authority").want(t, 422, "policy.organisation-unknown")
	account["password"] = gatewaytest.Password // the platform makes it
	create("authority").want(t, 400, "api.request-invalid")
	s.enter(t, "newcomer", made.text("first_password"))

	if all := s.do(t, request{method: "GET", path: "/api/v1/accounts", as: "authority"}).want(t, 200, "").list(t, "accounts"); len(all) != len(everybody)+1 {
		t.Errorf("%d accounts", len(all))
	}
	for _, one := range s.do(t, request{method: "GET", path: "/api/v1/accounts", as: "operator"}).want(t, 200, "").list(t, "accounts") {
		if one["organisation"] != "harbour" {
			t.Errorf("an operator sees %v", one)
		}
	}
	s.do(t, request{method: "GET", path: "/api/v1/accounts", as: "analyst"}).want(t, 403, "policy.forbidden")

	reason := object{"reason": "has left"}
	unlock := func(as, name string) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/accounts/" + name + "/unlock", as: as})
	}
	unlock("analyst", "newcomer").want(t, 403, "policy.forbidden")
	unlock("authority", "nobody").want(t, 404, "identity.no-such-account")
	unlock("authority", "newcomer").want(t, 204, "")
	s.do(t, request{method: "POST", path: "/api/v1/accounts/newcomer/disable", as: "analyst", body: reason}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "POST", path: "/api/v1/accounts/nobody/disable", as: "analyst", body: reason}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "POST", path: "/api/v1/accounts/nobody/disable", as: "authority", body: reason}).want(t, 404, "identity.no-such-account")
	s.do(t, request{method: "POST", path: "/api/v1/accounts/newcomer/disable", as: "authority", body: reason}).want(t, 204, "")
	in := object{"account": "newcomer", "password": gatewaytest.Password}
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 401, "identity.sign-in-failed")

	again := func(as, what string) answer {
		body := object{"reason": "is back"}
		if what == "roles" {
			body["roles"] = []string{"analyst"}
		}
		return s.do(t, request{method: "POST", path: "/api/v1/accounts/newcomer/" + what, as: as, body: body})
	}
	again("authority", "enable").want(t, 403, "policy.account-operator")
	again("operator", "enable").want(t, 200, "")
	again("authority", "reset").want(t, 403, "policy.account-operator")
	reset := again("operator", "reset").want(t, 200, "")
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 401, "identity.sign-in-failed")
	s.enter(t, "newcomer", reset.text("first_password"))
	again("operator", "roles").want(t, 403, "policy.forbidden")
	s.do(t, request{method: "POST", path: "/api/v1/accounts/nobody/reset", as: "analyst", body: reason}).want(t, 403, "policy.forbidden")
}

// enter signs somebody in by a first password. By it alone nobody is let in, and it is good once.
func (s *site) enter(t *testing.T, name, first string) {
	t.Helper()
	in := object{"account": name, "password": first}
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 403, "identity.password-first")
	in["next"] = gatewaytest.Password
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 200, "")
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 401, "identity.sign-in-failed")
	s.do(t, request{method: "POST", path: "/api/v1/session", body: object{"account": name, "password": gatewaytest.Password}}).want(t, 200, "")
}

// testSecondPerson: nobody alone makes an account that decides, watches or lets others in, gives one back or changes
// what it may; and nobody alone has its first password.
func (s *site) testSecondPerson(t *testing.T) {
	post := func(as, path string, body object) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/" + path, as: as, body: body})
	}
	officer := object{"name": "watcher", "display_name": "李审", "organisation": "review", "roles": []string{"officer"}}
	post("authority", "accounts", officer).want(t, 422, "identity.reason-needed")
	officer["reason"] = "for the desk"
	made := post("authority", "accounts", officer).want(t, 202, "")
	id, _ := made.object(t, "proposal")["id"].(string)
	post("authority", "accounts", object{"name": "lone", "display_name": "赵权", "organisation": "bureau", "roles": []string{"authority"}, "reason": "x"}).want(t, 202, "")
	if list := s.do(t, request{method: "GET", path: "/api/v1/proposals", as: "supervisor"}).want(t, 200, "").list(t, "proposals"); len(list) != 2 || list[0]["account"] != "watcher" {
		t.Errorf("waiting: %v", list)
	}
	s.do(t, request{method: "GET", path: "/api/v1/proposals", as: "officer"}).want(t, 403, "policy.forbidden")
	confirm := func(as, id string) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/proposals/" + id + "/confirm", as: as})
	}
	confirm("authority", id).want(t, 403, "policy.own-account")
	confirm("officer", id).want(t, 403, "policy.forbidden")
	confirm("second", "p-nothing").want(t, 404, "identity.no-such-proposal")
	done := confirm("second", id).want(t, 200, "")
	confirm("third", id).want(t, 404, "identity.no-such-proposal")
	first, second := made.text("first_password"), done.text("first_password")
	for _, half := range []string{first, second, second + first} {
		post("", "session", object{"account": "watcher", "password": half, "next": gatewaytest.Password}).want(t, 401, "identity.sign-in-failed")
	}
	s.enter(t, "watcher", first+second)

	for what, body := range map[string]object{
		"reset": {"reason": "forgot"}, "roles": {"reason": "moves", "roles": []string{"officer"}}, "enable": {"reason": "back"},
	} {
		waiting := post("authority", "accounts/watcher/"+what, body).want(t, 202, "")
		if waiting.object(t, "proposal")["kind"] != what {
			t.Errorf("%s: %s", what, waiting.body)
		}
		id, _ := waiting.object(t, "proposal")["id"].(string)
		post("officer", "proposals/"+id+"/refuse", object{"reason": "no"}).want(t, 403, "policy.forbidden")
		post("authority", "proposals/"+id+"/refuse", object{"reason": "no"}).want(t, 204, "")
	}
	// The last two authorities who can sign in stay.
	post("authority", "accounts/third/disable", object{"reason": "leaves"}).want(t, 204, "")
	post("authority", "accounts/second/disable", object{"reason": "leaves"}).want(t, 409, "identity.last-authorities")
	again := post("authority", "accounts/third/enable", object{"reason": "stays"}).want(t, 202, "")
	id, _ = again.object(t, "proposal")["id"].(string)
	confirm("second", id).want(t, 200, "")
}

func (s *site) testOrganisations(t *testing.T) {
	admit := func(as string, body object) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/organisations", as: as, body: body})
	}
	quay := object{"name": "Quay Works", "capacities": []string{"provider"}, "reason": "supplies"}
	admit("maintainer", quay).want(t, 403, "policy.forbidden")
	admit("authority", quay).want(t, 201, "")
	quay["name"] = "ＱＵＡＹ works "
	admit("authority", quay).want(t, 409, "policy.organisation-exists")
	admit("authority", object{"name": "x", "capacities": []string{"operator", "provider"}, "first": "somebody", "reason": "y"}).want(t, 422, "policy.capacities-exclude")
	if list := s.do(t, request{method: "GET", path: "/api/v1/organisations", as: "supervisor"}).want(t, 200, "").list(t, "organisations"); len(list) < 6 {
		t.Errorf("known: %v", list)
	}
	s.do(t, request{method: "GET", path: "/api/v1/organisations", as: "analyst"}).want(t, 403, "policy.forbidden")
	change := object{"organisation": "Quay Works", "add": []string{"maintenance"}, "reason": "runs machines too"}
	s.do(t, request{method: "POST", path: "/api/v1/organisations/change", as: "officer", body: change}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "POST", path: "/api/v1/organisations/change", as: "authority", body: change}).want(t, 200, "")
	// Neither duty needs a second person, so one person of the authority gives one in place of the other.
	worker := object{"name": "docker", "display_name": "陈工", "organisation": "Quay Works", "roles": []string{"provider"}}
	s.do(t, request{method: "POST", path: "/api/v1/accounts", as: "authority", body: worker}).want(t, 201, "")
	moved := object{"roles": []string{"maintainer"}, "reason": "runs machines"}
	s.do(t, request{method: "POST", path: "/api/v1/accounts/docker/roles", as: "authority", body: moved}).want(t, 200, "")
	moved["roles"] = []string{"officer"}
	s.do(t, request{method: "POST", path: "/api/v1/accounts/docker/roles", as: "authority", body: moved}).want(t, 422, "policy.account-roles")
	change["add"] = []string{"operator"}
	s.do(t, request{method: "POST", path: "/api/v1/organisations/change", as: "authority", body: change}).want(t, 422, "policy.capacities-exclude")
}

func upload(t *testing.T, parts ...string) (body *bytes.Buffer, header map[string]string) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	for i := 0; i < len(parts); i += 2 {
		part, err := w.CreateFormFile(parts[i], parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, map[string]string{"Content-Type": w.FormDataContentType()}
}

// testVersions has a version that waits shown and decided on.
func (s *site) testVersions(t *testing.T) {
	s.Catalogue.Waits = true
	supply := func() answer {
		body, header := upload(t, "manifest", "name: trees\nprovider: registry\nfile: trees.csv\nopen: true\n", "file", "kind\n柳\n")
		return s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: body, header: header}).want(t, 201, "")
	}
	taken := supply()
	if taken.text("state") != "waiting" || taken.text("rows") != "12345" || taken.list(t, "weaker")[0]["what"] != "first" {
		t.Errorf("took %v", taken)
	}
	list := func(as, query string) []map[string]any {
		return s.do(t, request{method: "GET", path: "/api/v1/dataset-versions" + query, as: as}).want(t, 200, "").list(t, "versions")
	}
	if own := list("provider", "?dataset=trees&state=waiting"); len(own) != 1 || own[0]["rows"] == nil {
		t.Errorf("the provider sees %v", own)
	}
	if all := list("authority", ""); len(all) != 3 || all[0]["rows"] != nil {
		t.Errorf("the authority sees %v", all)
	}
	s.do(t, request{method: "GET", path: "/api/v1/dataset-versions", as: "analyst"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: "/api/v1/dataset-versions?state=lost", as: "provider"}).want(t, 400, "api.request-invalid")
	for _, c := range []struct {
		as, what string
		status   int
		code     string
	}{
		{"provider", "versions/2/approve", 403, "policy.forbidden"},
		{"officer", "versions/2/refuse", 403, "policy.forbidden"},
		{"authority", "versions/0/approve", 400, "api.request-invalid"},
		{"authority", "versions/9/approve", 404, "sandbox.unknown-version"},
		{"authority", "versions/2/refuse", 204, ""},
		{"authority", "versions/2/approve", 404, "sandbox.unknown-version"}, // the double has one answer to all
		{"analyst", "withdraw", 403, "policy.forbidden"},
	} {
		s.do(t, request{method: "POST", path: "/api/v1/datasets/trees/" + c.what, as: c.as, body: object{"reason": "x"}}).want(t, c.status, c.code)
	}
	if refused := list("provider", "?state=refused"); len(refused) != 1 || refused[0]["reason"] != "x" || refused[0]["decided"] == nil {
		t.Errorf("the provider does not read why: %v", refused)
	}
	supply()
	for _, what := range []string{"versions/3/approve", "versions/3/withdraw", "withdraw"} {
		as := map[bool]string{true: "provider", false: "authority"}[strings.HasSuffix(what, "withdraw")]
		s.do(t, request{method: "POST", path: "/api/v1/datasets/trees/" + what, as: as, body: object{"reason": "x"}}).want(t, 204, "")
	}
	s.do(t, request{method: "GET", path: "/api/v1/datasets/trees", as: "provider"}).want(t, 409, "sandbox.not-approved")
	s.Catalogue.Waits = false
	supply()
}

func (s *site) testDatasets(t *testing.T) {
	const manifest = "name: trees\nprovider: registry\nfile: trees.csv\nopen: true\n"
	for _, c := range []struct {
		name, as string
		parts    []string
		status   int
		code     string
	}{
		{"as it should be", "provider", []string{"manifest", manifest, "file", "kind\n柳\n"}, 201, ""},
		{"not a provider", "analyst", []string{"manifest", manifest, "file", "kind\n"}, 403, "policy.forbidden"},
		{"not a provider, and nothing is parsed", "analyst", []string{"manifest", "name: [", "file", "kind\n"}, 403, "policy.forbidden"},
		{"aliases of aliases", "provider", []string{"manifest", manifest + "x: &a [b, b]\ny: [*a, *a]\n", "file", "kind\n"}, 422, "gateway.manifest-unreadable"},
		{"somebody else's", "provider", []string{"manifest", strings.Replace(manifest, "registry", "bureau", 1), "file", "kind\n"}, 403, "gateway.manifest-provider"},
		{"file first", "provider", []string{"file", "kind\n", "manifest", manifest}, 400, "api.upload-parts"},
		{"no file", "provider", []string{"manifest", manifest}, 400, "api.upload-parts"},
		{"manifest too long", "provider", []string{"manifest", manifest + strings.Repeat("#", 1<<20), "file", "kind\n"}, 400, "api.upload-parts"},
		{"no YAML", "provider", []string{"manifest", "name: [", "file", "kind\n"}, 422, "gateway.manifest-unreadable"},
		{"a path upwards", "provider", []string{"manifest", strings.Replace(manifest, "trees.csv", "../trees.csv", 1), "file", "kind\n"}, 422, "gateway.manifest-file"},
		{"an absolute path", "provider", []string{"manifest", strings.Replace(manifest, "trees.csv", "/etc/passwd", 1), "file", "kind\n"}, 422, "gateway.manifest-file"},
		{"a second path", "provider", []string{"manifest", manifest + "file: /etc/passwd\n", "file", "kind\n"}, 422, "gateway.manifest-unreadable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, header := upload(t, c.parts...)
			s.do(t, request{method: "POST", path: "/api/v1/datasets", as: c.as, body: body, header: header}).want(t, c.status, c.code)
		})
	}
	s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: object{}}).want(t, 415, "api.content-type")
	if s.Catalogue.Files["trees"] != "kind\n柳\n" {
		t.Errorf("the file came in as %q", s.Catalogue.Files["trees"])
	}

	columns := func(as string) (names []string) {
		got := s.do(t, request{method: "GET", path: "/api/v1/datasets/residents", as: as}).want(t, 200, "")
		if got.text("rows_about") != "120000" {
			t.Errorf("rows_about %s", got.text("rows_about"))
		}
		for _, c := range got.list(t, "columns") {
			names = append(names, c["name"].(string))
		}
		return names
	}
	if got := columns("provider"); !slices.Equal(got, []string{"id", "district", "income"}) {
		t.Errorf("a provider sees %v", got)
	}
	if got := columns("analyst"); !slices.Equal(got, []string{"district", "income"}) {
		t.Errorf("an analyst sees %v", got)
	}
	s.testVersions(t)
	s.do(t, request{method: "GET", path: "/api/v1/datasets/residents", as: "maintainer"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: "/api/v1/datasets/nothing", as: "analyst"}).want(t, 404, "sandbox.unknown-dataset")
	if all := s.do(t, request{method: "GET", path: "/api/v1/datasets", as: "maintainer"}).want(t, 200, "").list(t, "datasets"); len(all) != 2 || len(all[0]["columns"].([]any)) != 0 {
		t.Errorf("a maintainer sees %v", all)
	}
}

func (s *site) testGrants(t *testing.T) {
	wanted := object{
		"operator": "harbour", "scenario": "finance", "title": "房产金融", "mode": "exact", "until": time.Now().Add(time.Hour),
		"datasets": []object{{"name": "residents", "columns": []string{"district"}}},
		"quota":    object{"jobs_per_day": 10, "cells_per_day": 100},
	}
	create := func(as string) answer {
		return s.do(t, request{method: "POST", path: "/api/v1/grants", as: as, body: wanted})
	}
	create("operator").want(t, 403, "policy.forbidden")
	got := create("authority").want(t, 201, "")
	id := got.text("id")
	wanted["datasets"] = []object{{"name": "residents", "columns": []string{"nothing"}}}
	create("authority").want(t, 422, "gateway.grant-column")
	wanted["datasets"] = []object{{"name": "nothing", "columns": []string{"nothing"}}}
	create("authority").want(t, 404, "sandbox.unknown-dataset")

	path := "/api/v1/grants/" + id
	s.do(t, request{method: "GET", path: path, as: "analyst"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: path, as: "stranger"}).want(t, 404, "policy.unknown-grant")
	if own := s.do(t, request{method: "GET", path: "/api/v1/grants", as: "stranger"}).want(t, 200, "").list(t, "grants"); len(own) != 1 || own[0]["operator"] != "canal" {
		t.Errorf("a stranger sees %v", own)
	}
	if all := s.do(t, request{method: "GET", path: "/api/v1/grants", as: "authority"}).want(t, 200, "").list(t, "grants"); len(all) != 3 {
		t.Errorf("the authority sees %v", all)
	}
	s.do(t, request{method: "GET", path: "/api/v1/grants", as: "maintainer"}).want(t, 403, "policy.forbidden")

	change := func(what, as string) answer {
		return s.do(t, request{method: "POST", path: path + "/" + what, as: as, body: object{"reason": "年度评估"}})
	}
	change("suspend", "operator").want(t, 403, "policy.forbidden")
	if got := change("suspend", "authority").want(t, 200, ""); got.text("state") != "suspended" {
		t.Errorf("got %s", got.body)
	}
	if got := change("restore", "authority").want(t, 200, ""); got.text("state") != "active" {
		t.Errorf("got %s", got.body)
	}
	if got := change("terminate", "authority").want(t, 200, ""); got.text("state") != "terminated" {
		t.Errorf("got %s", got.body)
	}
	change("hold", "officer").want(t, 403, "policy.forbidden")
	change("lift", "supervisor").want(t, 409, "policy.grant-not-held")
	change("hold", "supervisor").want(t, 200, "")
	change("hold", "supervisor").want(t, 409, "policy.grant-held")
	change("lift", "authority").want(t, 200, "")
	if got := change("restore", "authority"); got.status != 409 {
		t.Errorf("restore after the end: %d %s", got.status, got.body)
	}
	path = "/api/v1/grants/nothing"
	change("suspend", "authority").want(t, 404, "policy.unknown-grant")
}

func (s *site) submit(t *testing.T, as, sql string) answer {
	t.Helper()
	return s.do(t, request{
		method: "POST", path: "/api/v1/jobs?wait=30", as: as, body: object{"grant": s.Grant.ID, "sql": sql},
		header: map[string]string{"Idempotency-Key": fmt.Sprintf("test-key-%d", keys.Add(1))},
	})
}

func (s *site) testJobs(t *testing.T) {
	released := s.submit(t, "analyst", gatewaytest.Release).want(t, 200, "")
	path := "/api/v1/jobs/" + released.text("id")
	if released.text("state") != "released" || released.header.Get("Location") != path {
		t.Errorf("got %s, %v", released.body, released.header)
	}
	got := s.do(t, request{method: "GET", path: path + "/result", as: "analyst"}).want(t, 200, "")
	if rows, _ := got.member("rows"); fmt.Sprint(rows) != "[[=昌邑区 1200]]" || got.text("state") != "released" {
		t.Errorf("got %s", got.body)
	}
	got = s.do(t, request{method: "GET", path: path + "/result", as: "analyst", header: map[string]string{"Accept": "text/csv"}}).want(t, 200, "")
	if string(got.body) != "district,people\n'=昌邑区,1200\n" {
		t.Errorf("got %q", got.body)
	}
	s.do(t, request{method: "GET", path: path + "/result", as: "analyst", header: map[string]string{"Accept": "image/png"}}).want(t, 406, "api.not-acceptable")
	for _, page := range []struct{ query, rows string }{
		{"page=1", "[[=昌邑区 1200]]"}, {"rows=1", "[[=昌邑区 1200]]"}, {"page=1&rows=10000", "[[=昌邑区 1200]]"}, {"page=2", "[]"}, {"page=1000000&rows=10000", "[]"},
	} {
		got := s.do(t, request{method: "GET", path: path + "/result?" + page.query, as: "analyst"}).want(t, 200, "")
		if rows, _ := got.member("rows"); fmt.Sprint(rows) != page.rows || got.header.Get("Weir-Pages") != "1" {
			t.Errorf("%s: %v %s", page.query, got.header, got.body)
		}
	}
	for _, query := range []string{"page=0", "rows=0", "rows=10001", "page=1000001", "page=-1", "page=1.5", "page=1&page=2"} {
		s.do(t, request{method: "GET", path: path + "/result?" + query, as: "analyst"}).want(t, 400, "api.request-invalid")
	}
	s.do(t, request{method: "GET", path: path + "/result", as: "stranger"}).want(t, 404, "gateway.job-unknown")
	s.do(t, request{method: "GET", path: path + "/result", as: "supervisor"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: path, as: "analyst"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: path, as: "stranger"}).want(t, 404, "gateway.job-unknown")
	s.do(t, request{method: "POST", path: path + "/cancel", as: "analyst"}).want(t, 409, "gateway.job-ended")
	s.do(t, request{method: "POST", path: path + "/cancel", as: "stranger"}).want(t, 404, "gateway.job-unknown")
	s.do(t, request{method: "POST", path: "/api/v1/jobs/nothing/cancel", as: "analyst"}).want(t, 404, "gateway.job-unknown")
	events := s.do(t, request{method: "GET", path: path + "/events", as: "analyst"}).want(t, 200, "")
	if n := bytes.Count(events.body, []byte("event: state\n")); n != 3 {
		t.Errorf("%d events: %s", n, events.body)
	}
	s.do(t, request{method: "GET", path: path + "/events", as: "stranger"}).want(t, 404, "gateway.job-unknown")

	denied := s.submit(t, "analyst", gatewaytest.Deny).want(t, 200, "")
	reason, _ := denied.member("problem")
	if document, ok := reason.(map[string]any); !ok || document["code"] != "policy.not-analyst" || document["line"] != 2.0 || document["column"] != 8.0 {
		t.Errorf("got %s", denied.body)
	}
	s.do(t, request{method: "GET", path: "/api/v1/jobs/" + denied.text("id") + "/result", as: "analyst"}).want(t, 403, "policy.not-analyst")
	for _, sql := range []string{gatewaytest.Fail, gatewaytest.Panic} {
		failed := s.submit(t, "analyst", sql).want(t, 200, "")
		if failed.text("state") != "failed" || bytes.Contains(failed.body, []byte("220202")) {
			t.Errorf("got %s", failed.body)
		}
		s.do(t, request{method: "GET", path: "/api/v1/jobs/" + failed.text("id") + "/result", as: "analyst"}).want(t, 500, "internal")
	}
	// Whoever may not ask gets a job that is denied: every attempt is a job, and on the log.
	if got := s.submit(t, "stranger", gatewaytest.Release).want(t, 200, ""); got.text("state") != "denied" {
		t.Errorf("got %s", got.body)
	}
	list := s.do(t, request{method: "GET", path: "/api/v1/jobs?limit=2", as: "analyst"}).want(t, 200, "")
	if jobs := list.list(t, "jobs"); len(jobs) != 2 || jobs[0]["id"].(string) < jobs[1]["id"].(string) {
		t.Errorf("got %s", list.body)
	}
	list = s.do(t, request{method: "GET", path: "/api/v1/jobs?before=" + list.text("next"), as: "analyst"}).want(t, 200, "")
	if jobs := list.list(t, "jobs"); len(jobs) != 2 || jobs[1]["id"] != released.text("id") {
		t.Errorf("got %s", list.body)
	}
	s.do(t, request{method: "GET", path: "/api/v1/jobs", as: "officer"}).want(t, 403, "policy.forbidden")

	query := object{"grant": s.Grant.ID, "sql": gatewaytest.Release}
	s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: query}).want(t, 200, "")
	s.do(t, request{method: "POST", path: "/api/v1/explain", as: "stranger", body: query}).want(t, 404, "policy.unknown-grant")
	query["sql"] = gatewaytest.Deny
	got = s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: query}).want(t, 403, "policy.not-analyst")
	if got.text("line") != "1" || got.text("column") != "8" {
		t.Errorf("got %s", got.body)
	}
	query["sql"] = strings.Repeat("堰", 30000) // fewer than 65 536 characters, more bytes
	s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: query}).want(t, 413, "gateway.sql-too-long")

	key := map[string]string{"Idempotency-Key": "key-for-the-block"}
	blocked := s.do(t, request{method: "POST", path: "/api/v1/jobs", as: "analyst", header: key, body: object{"grant": s.Grant.ID, "sql": gatewaytest.Block}}).want(t, 202, "")
	path = "/api/v1/jobs/" + blocked.text("id")
	s.do(t, request{method: "POST", path: "/api/v1/jobs", as: "analyst", header: key, body: object{"grant": s.Grant.ID, "sql": gatewaytest.Release}}).want(t, 409, "gateway.key-reused")
	s.do(t, request{method: "GET", path: path + "/result", as: "analyst"}).want(t, 409, "gateway.job-alive")
	if got := s.do(t, request{method: "POST", path: path + "/cancel", as: "analyst"}).want(t, 200, ""); got.text("state") != "cancelled" {
		t.Errorf("got %s", got.body)
	}
	s.do(t, request{method: "GET", path: path + "/result", as: "analyst"}).want(t, 409, "gateway.job-cancelled")
}

func (s *site) testReleases(t *testing.T) {
	reason := object{"reason": "无个人信息"}
	for _, c := range []struct{ decision, state, code string }{{"approve", "released", ""}, {"refuse", "denied", "export.refused"}} {
		waiting := s.submit(t, "analyst", gatewaytest.Wait).want(t, 200, "")
		id := waiting.text("id")
		job, path := "/api/v1/jobs/"+id, "/api/v1/releases/"+id
		if waiting.text("state") != "waiting" {
			t.Fatalf("got %s", waiting.body)
		}
		got := s.do(t, request{method: "GET", path: job + "/result", as: "analyst"}).want(t, 200, "")
		if rows, _ := got.member("rows"); got.text("state") != "waiting" || len(rows.([]any)) != 0 {
			t.Errorf("got %s", got.body)
		}
		s.do(t, request{method: "GET", path: job + "/result", as: "analyst", header: map[string]string{"Accept": "text/csv"}}).want(t, 409, "export.not-released")

		for _, as := range []string{"officer", "authority", "supervisor"} {
			list := s.do(t, request{method: "GET", path: "/api/v1/releases", as: as}).want(t, 200, "")
			if bytes.Contains(list.body, []byte("1200")) || len(list.list(t, "releases")) != 1 {
				t.Errorf("%s is shown %s", as, list.body)
			}
		}
		s.do(t, request{method: "GET", path: "/api/v1/releases", as: "analyst"}).want(t, 403, "policy.forbidden")
		offer := s.do(t, request{method: "GET", path: path, as: "officer"}).want(t, 200, "")
		if rows, _ := offer.member("rows"); fmt.Sprint(rows) != "[[=昌邑区 1200]]" || offer.text("sql") != gatewaytest.Wait {
			t.Errorf("got %s", offer.body)
		}
		for _, as := range []string{"analyst", "operator", "authority", "supervisor", "maintainer"} {
			s.do(t, request{method: "GET", path: path, as: as}).want(t, 403, "policy.forbidden")
			s.do(t, request{method: "POST", path: path + "/" + c.decision, as: as, body: reason}).want(t, 403, "policy.forbidden")
		}
		s.do(t, request{method: "GET", path: path, as: "stranger"}).want(t, 404, "policy.unknown-object")
		s.do(t, request{method: "POST", path: path + "/" + c.decision, as: "officer", body: reason}).want(t, 204, "")
		s.do(t, request{method: "POST", path: path + "/" + c.decision, as: "officer", body: reason}).want(t, 409, "export.already-decided")

		got = s.do(t, request{method: "GET", path: job, as: "analyst"}).want(t, 200, "")
		if got.text("state") != c.state {
			t.Errorf("got %s", got.body)
		}
		if list := s.do(t, request{method: "GET", path: "/api/v1/jobs?limit=1&sql=true", as: "analyst"}).want(t, 200, "").list(t, "jobs"); len(list) != 1 || list[0]["id"] != id {
			t.Errorf("got %v", list)
		}
		// The reason is read by whoever asked, without who gave it; and the list of what was decided says both.
		if decision, _ := got.member("decision"); !strings.Contains(fmt.Sprint(decision), "无个人信息") || bytes.Contains(got.body, []byte("officer")) {
			t.Errorf("got %s", got.body)
		}
		queued := map[string]string{"approve": "released", "refuse": "refused"}[c.decision]
		for _, state := range []string{"decided", queued} {
			list := s.do(t, request{method: "GET", path: "/api/v1/releases?state=" + state, as: "supervisor"}).want(t, 200, "").list(t, "releases")
			if len(list) == 0 || list[0]["id"] != id || list[0]["state"] != queued || list[0]["officer"] != "officer" || list[0]["reason"] != "无个人信息" || list[0]["decided"] == nil {
				t.Errorf("decided: %v", list)
			}
		}
		if list := s.do(t, request{method: "GET", path: "/api/v1/releases", as: "officer"}).want(t, 200, "").list(t, "releases"); len(list) != 0 {
			t.Errorf("still waiting: %v", list)
		}
		s.do(t, request{method: "GET", path: "/api/v1/releases?state=decided", as: "analyst"}).want(t, 403, "policy.forbidden")
		s.do(t, request{method: "GET", path: "/api/v1/releases?state=forgotten", as: "officer"}).want(t, 400, "api.request-invalid")
		result := s.do(t, request{method: "GET", path: job + "/result", as: "analyst"})
		if c.code == "" {
			result.want(t, 200, "")
		} else {
			result.want(t, 403, c.code)
		}
	}
	s.do(t, request{method: "GET", path: "/api/v1/releases/nothing", as: "officer"}).want(t, 404, "export.no-such-release")
	s.do(t, request{method: "GET", path: "/api/v1/releases/nothing", as: "supervisor"}).want(t, 403, "policy.forbidden")
}

func (s *site) testLog(t *testing.T) {
	first := s.do(t, request{method: "GET", path: "/api/v1/log/entries?limit=3&after=1", as: "supervisor"}).want(t, 200, "")
	entries := first.list(t, "entries")
	if len(entries) != 3 || entries[0]["kind"] != "session.begun" || entries[0]["actor"] != "authority" {
		t.Errorf("got %s", first.body)
	}
	next := s.do(t, request{method: "GET", path: "/api/v1/log/entries?limit=1&after=" + first.text("next"), as: "supervisor"}).want(t, 200, "")
	if more := next.list(t, "entries"); len(more) != 1 || more[0]["index"] != 4.0 {
		t.Errorf("got %s", next.body)
	}
	found := s.do(t, request{method: "GET", path: "/api/v1/log/entries?kind=grant.suspend.intent&grant=" + s.Grant.ID, as: "authority"}).want(t, 200, "")
	if len(found.list(t, "entries")) != 0 {
		t.Errorf("got %s", found.body)
	}
	for _, path := range []string{"/entries", "/checkpoint", "/proof/inclusion?index=0", "/proof/consistency?size=1", "/tile/0/000.p/1"} {
		s.do(t, request{method: "GET", path: "/api/v1/log" + path, as: "analyst"}).want(t, 403, "policy.forbidden")
	}
	before := len(s.Kinds(t))
	s.do(t, request{method: "GET", path: "/api/v1/log/entries", as: "maintainer"}).want(t, 403, "policy.forbidden")
	if after := s.Kinds(t); after[len(after)-1] != "audit.read.refused" || len(after) != before+1 {
		t.Errorf("the log ends with %v", after[before:])
	}
	note := s.do(t, request{method: "GET", path: "/api/v1/log/checkpoint", as: "maintainer"}).want(t, 200, "")
	if !bytes.HasPrefix(note.body, []byte("weir.test/audit\n")) {
		t.Errorf("got %s", note.body)
	}
	s.do(t, request{method: "GET", path: "/api/v1/log/proof/inclusion?index=0", as: "maintainer"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: "/api/v1/log/proof/inclusion?index=99999", as: "maintainer"}).want(t, 404, "audit.no-such-entry")
	s.do(t, request{method: "GET", path: "/api/v1/log/proof/consistency?size=2", as: "maintainer"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: "/api/v1/log/proof/consistency?size=99999", as: "maintainer"}).want(t, 404, "audit.no-such-tree")
	if got := s.do(t, request{method: "GET", path: "/api/v1/log/tile/0/000.p/1", as: "maintainer"}).want(t, 200, ""); len(got.body) != 32 {
		t.Errorf("a tile of %d bytes", len(got.body))
	}
	s.do(t, request{method: "GET", path: "/api/v1/log/tile/entries/000.p/1", as: "supervisor"}).want(t, 200, "")
	s.do(t, request{method: "GET", path: "/api/v1/log/tile/entries/000.p/1", as: "maintainer"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: "/api/v1/log/tile/0/999", as: "supervisor"}).want(t, 404, "api.no-such-tile")
	s.do(t, request{method: "GET", path: "/api/v1/log/tile/0/x/y", as: "supervisor"}).want(t, 404, "api.no-such-tile")
	report := s.do(t, request{method: "POST", path: "/api/v1/log/verify", as: "maintainer"}).want(t, 200, "")
	if report.text("ok") != "true" {
		t.Errorf("got %s", report.body)
	}
	s.do(t, request{method: "POST", path: "/api/v1/log/verify", as: "analyst"}).want(t, 403, "policy.forbidden")
	receipt, err := s.Log.Append(t.Context(), audit.Event{Kind: "test.entry", Actor: "analyst", Payload: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	erase := func(as string) answer {
		path := fmt.Sprintf("/api/v1/log/entries/%d/erase", receipt.Index)
		return s.do(t, request{method: "POST", path: path, as: as, body: object{"reason": "asked for"}})
	}
	erase("supervisor").want(t, 403, "policy.forbidden")
	erase("authority").want(t, 204, "")
	erase("authority").want(t, 409, "audit.nothing-to-erase")
}

func (s *site) testBudgets(t *testing.T) {
	charge := []privacy.Charge{{Domain: "person", Rho: privacy.Rho(0.5), Delta: 1000}}
	for _, operator := range []string{"harbour", "canal"} {
		if err := s.Budget.Charge(t.Context(), gateway.Payer{Job: "1", Operator: operator, Share: 1}, charge); err != nil {
			t.Fatal(err)
		}
	}
	for person, shares := range map[string]int{"authority": 2, "supervisor": 2, "officer": 2, "operator": 1, "analyst": 1} {
		got := s.do(t, request{method: "GET", path: "/api/v1/budgets", as: person}).want(t, 200, "").list(t, "budgets")
		if len(got) != 1 || got[0]["domain"] != "person" || got[0]["left"] != 1.56 || got[0]["spent"] != 1.0 || len(got[0]["shares"].([]any)) != shares {
			t.Errorf("%s sees %v", person, got)
		}
	}
	s.do(t, request{method: "GET", path: "/api/v1/budgets?operator=canal", as: "analyst"}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "GET", path: "/api/v1/budgets", as: "maintainer"}).want(t, 403, "policy.forbidden")
	const person = "/api/v1/budgets/person"
	set := object{"left": 2, "reason": "the council's decision of today"}
	s.do(t, request{method: "PUT", path: person, as: "officer", body: set}).want(t, 403, "policy.forbidden")
	s.do(t, request{method: "PUT", path: "/api/v1/budgets/nobody", as: "authority", body: set}).want(t, 404, "gateway.no-such-domain")
	s.do(t, request{method: "PUT", path: person, as: "authority", body: object{"left": 11, "reason": "all"}}).want(t, 422, "export.account-limit")
	s.do(t, request{method: "PUT", path: person, as: "authority", body: object{"left": 2}}).want(t, 400, "api.request-invalid")
	if got := s.do(t, request{method: "PUT", path: person, as: "authority", body: set}).want(t, 200, ""); got.text("left") != "2" || got.text("spent") != "1" {
		t.Errorf("got %s", got.body)
	}
	s.do(t, request{method: "PUT", path: person, as: "authority", body: object{"left": 3, "reason": "more"}}).want(t, 409, "export.account-yearly")
}

func (s *site) testUsage(t *testing.T) {
	today := time.Now().UTC().Format(time.DateOnly)
	days := "?from=" + today + "&to=" + today
	total := s.do(t, request{method: "GET", path: "/api/v1/usage" + days, as: "operator"}).want(t, 200, "")
	list := total.list(t, "usage")
	if len(list) != 1 || list[0]["operator"] != "harbour" || list[0]["grant"] != s.Grant.ID || list[0]["jobs"].(float64) < 4 {
		t.Fatalf("got %s", total.body)
	}
	if read := list[0]["read_bytes"].(float64); read < 7<<20 || int64(read)%(64<<20) != 0 {
		t.Errorf("bytes are told as %v", read)
	}
	s.do(t, request{method: "GET", path: "/api/v1/usage" + days + "&operator=canal", as: "operator"}).want(t, 403, "policy.forbidden")
	if got := s.do(t, request{method: "GET", path: "/api/v1/usage" + days + "&operator=canal", as: "authority"}).want(t, 200, "").list(t, "usage"); len(got) != 1 || got[0]["operator"] != "canal" {
		t.Errorf("got %v", got)
	}
	if got := s.do(t, request{method: "GET", path: "/api/v1/usage" + days, as: "maintainer"}).want(t, 200, "").list(t, "usage"); len(got) < 2 {
		t.Errorf("of all: %v", got)
	}
	for _, person := range []string{"analyst", "officer", "provider"} {
		s.do(t, request{method: "GET", path: "/api/v1/usage" + days, as: person}).want(t, 403, "policy.forbidden")
	}
	jobs := s.do(t, request{method: "GET", path: "/api/v1/usage/jobs" + days, as: "supervisor"}).want(t, 200, "").list(t, "jobs")
	if len(jobs) < 5 || jobs[0]["cpu_ms"] != 2000.0 || jobs[0]["read_bytes"] != float64(7<<20) {
		t.Errorf("got %v", jobs)
	}
	for _, person := range []string{"operator", "analyst", "maintainer"} {
		s.do(t, request{method: "GET", path: "/api/v1/usage/jobs" + days, as: person}).want(t, 403, "policy.forbidden")
	}
	for _, path := range []string{"/api/v1/usage", "/api/v1/usage/jobs"} {
		sheet := s.do(t, request{method: "GET", path: path + days, as: "authority", header: map[string]string{"Accept": "text/csv"}}).want(t, 200, "")
		if lines := bytes.Split(bytes.TrimSpace(sheet.body), []byte("\n")); len(lines) < 3 || !bytes.Contains(lines[0], []byte("operator,grant,")) {
			t.Errorf("got %s", sheet.body)
		}
		s.do(t, request{method: "GET", path: path + days, as: "authority", header: map[string]string{"Accept": "image/png"}}).want(t, 406, "api.not-acceptable")
		for _, bad := range []string{"?from=2026-02-30&to=2026-03-01", "?from=2026-03-02&to=2026-03-01", "?from=2024-01-01&to=2026-03-01"} {
			s.do(t, request{method: "GET", path: path + bad, as: "authority"}).want(t, 422, "gateway.usage-days")
		}
		s.do(t, request{method: "GET", path: path, as: "authority"}).want(t, 400, "api.request-invalid")
	}
}
