package rooms

// demo keeps the demo out of every room: no line of the platform knows it.
var demo = Wall{[]string{"deploy", "internal/city"}, "the demo's data comes in through the same door as everybody's"}

// Plan is the floor plan. A new folder is no room until it stands here.
var Plan = []Room{
	{
		Path:  "cmd/weir",
		Holds: "the platform and its command line: a file for each subcommand, the wiring in one",
		Alone: true,
		May:   []string{"gateway", "gateway/api", "export", "sandbox", "policy", "audit", "internal/store", "internal/problem", "internal/city", "deploy"},
		Never: []Wall{
			{[]string{"sandbox/worker"}, "it holds keys and people's requests, so it must have no engine to run them on; the engine lives in weir-worker"},
			{[]string{"sandbox/isolate"}, "only the sandbox decides how a child is confined; the platform asks it for a worker"},
		},
	},
	{
		Path:  "cmd/weir-worker",
		Holds: "the child that plans, runs and reads in: the only program with the engine",
		Alone: true,
		May:   []string{"sandbox/worker", "sandbox/isolate"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api"}, "the process that sees data must not be able to answer anyone"},
			{[]string{"export"}, "the process that sees data must not be able to judge or release its own result"},
			{[]string{"policy"}, "a worker decides nothing; what it may open is handed to it"},
			{[]string{"audit", "internal/store"}, "a worker that is broken into must find neither the log nor the store"},
			{[]string{"sandbox"}, "the parent's side holds the vault's keys"},
			{[]string{"internal/problem"}, "what a worker says travels as a code; only the platform speaks to people"},
			demo,
		},
	},
	{
		Path:  "gateway",
		Holds: "the one path from request to release, and what surrounds it: identity, jobs, the acts of officials",
		May:   []string{"export", "sandbox", "policy", "audit", "internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"gateway/api"}, "the path of a query knows no HTTP, so that it can be read and tested alone"},
			{[]string{"sandbox/worker", "sandbox/isolate"}, "the gateway asks the sandbox for a result and never touches a child or an engine"},
			demo,
		},
	},
	{
		Path:  "gateway/api",
		Holds: "HTTP: the specification, what is generated from it, and the handlers",
		May:   []string{"gateway", "export", "sandbox", "policy", "audit", "internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"sandbox/worker", "sandbox/isolate"}, "what faces the network must not reach a child or an engine"},
			demo,
		},
	},
	{
		Path:  "export",
		Holds: "the guard over plans, the evidence filter, the ledger, the review queue: what decides that something may leave",
		May:   []string{"sandbox", "policy", "internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api"}, "the judge of results must not know who asks over which wire"},
			{[]string{"audit"}, "the gateway writes the log around the judge; a judge that writes its own record could leave itself out"},
			{[]string{"sandbox/worker", "sandbox/isolate"}, "the judge sees plans and evidence, never an engine"},
			demo,
		},
	},
	{
		Path:  "sandbox",
		Holds: "the vault, and the parent's side of planner, worker and intake processes",
		May:   []string{"sandbox/isolate", "policy", "internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api"}, "data is kept without knowing who is asking"},
			{[]string{"export"}, "who keeps the data must not decide what leaves"},
			{[]string{"audit"}, "who keeps the data must not write the log about it; the gateway does, around it"},
			{[]string{"sandbox/worker"}, "the parent holds the vault's keys and must not link the engine"},
			demo,
		},
	},
	{
		Path:  "sandbox/isolate",
		Holds: "the walls that the operating system puts around a child",
		May:   nil,
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/worker", "policy", "audit", "internal/store", "internal/problem"},
				"it runs first in every child, as root of its namespaces, and must be readable alone"},
			demo,
		},
	},
	{
		Path:  "sandbox/worker",
		Holds: "the child's side: the engine, bound to one job",
		May:   []string{"sandbox/isolate", "policy"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api"}, "the process that sees data must not be able to answer anyone"},
			{[]string{"export"}, "the process that sees data must not be able to judge or release its own result"},
			{[]string{"audit", "internal/store"}, "a worker that is broken into must find neither the log nor the store"},
			{[]string{"sandbox"}, "the parent's side holds the vault's keys"},
			{[]string{"internal/problem"}, "what a worker says travels as a code; only the platform speaks to people"},
			demo,
		},
	},
	{
		Path:  "policy",
		Holds: "the nouns that all share, and the decision whether somebody may ask",
		May:   []string{"internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "audit"},
				"all rooms lean on policy's words; a decision must depend on the facts it is given and on nothing else"},
			demo,
		},
	},
	{
		Path:  "audit",
		Holds: "the log that nobody can rewrite unnoticed",
		May:   []string{"internal/store", "internal/problem"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy"},
				"the log must not depend on what it is a witness of; a supervisor reads and verifies it with this room alone"},
			demo,
		},
	},
	{
		Path:  "internal/store",
		Holds: "opening the database and migrating it; the tables belong to the rooms",
		May:   nil,
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy", "audit", "internal/problem"},
				"it knows no room's tables, so that each room owns its own"},
			demo,
		},
	},
	{
		Path:  "internal/problem",
		Holds: "the one kind of error that a person reads",
		May:   nil,
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy", "audit", "internal/store"},
				"a message must not be able to reach data; each room registers its own catalogue here"},
			demo,
		},
	},
	{
		Path:  "internal/city",
		Holds: "the generator of the demo's city",
		May:   []string{"deploy"},
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy", "audit", "internal/store", "internal/problem"},
				"it writes files and nothing else"},
		},
	},
	{
		Path:  "deploy",
		Holds: "units, images, sample configuration, the parameters of the demo's city",
		May:   nil,
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy", "audit", "internal/store", "internal/problem", "internal/city"},
				"it holds files and no code that runs"},
		},
	},
	{
		Path:  "internal/rooms",
		Holds: "this plan",
		Alone: true,
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "export", "sandbox", "sandbox/isolate", "sandbox/worker", "policy", "audit", "internal/store", "internal/problem", "internal/city", "deploy"},
				"the plan reads the rooms from outside"},
		},
	},
}

// Links are the foreign packages that some of ours must not have.
var Links = []Link{
	{
		Of:      []string{"*"},
		Except:  []string{"cmd/weir-worker", "sandbox/worker"},
		Never:   []string{"github.com/duckdb"},
		Because: "only the worker has an engine; elsewhere there is no code that could run an analyst's text on data",
	},
	{
		Of: []string{"cmd/weir-worker", "sandbox/worker"},
		Never: []string{
			"github.com/gin-gonic", "github.com/golang-jwt", "github.com/coreos/go-oidc", "golang.org/x/oauth2",
			"github.com/uptrace/bun", "github.com/mattn/go-sqlite3", "github.com/jackc/pgx", "github.com/open-policy-agent",
		},
		Because: "the process that sees data has no server, no keys, no store and no say in who may ask",
	},
	{
		Of:      []string{"gateway"},
		Never:   []string{"net/http", "github.com/gin-gonic"},
		Direct:  true,
		Because: "the path of a query is plain Go that can be read aloud in a review",
	},
}
