package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"weir/internal/problem"
)

// The exit statuses. A script tells from them what became of a query.
const (
	exitReleased = 0 // or simply: it worked
	exitFailed   = 1
	exitUsage    = 2
	exitDenied   = 3
	exitWaiting  = 4 // an officer decides
)

// status is an exit status that needs no further words, because what there is to say has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// commands is the command line. Its English text is the key to the Chinese in zh.yaml.
type commands struct {
	Lang   string `placeholder:"zh|en" help:"Language of what is printed; the environment's when left out."`
	Server string `env:"WEIR_SERVER" placeholder:"URL" help:"The platform; where you signed in last when left out."`
	CA     string `name:"ca" env:"WEIR_CA" placeholder:"FILE" help:"Certificates (PEM) to trust beside the system's."`
	As     string `placeholder:"ACCOUNT" help:"Which of the signed-in accounts acts; the last one when left out."`

	Serve   serveCommand   `cmd:"" help:"Run the platform."`
	Login   loginCommand   `cmd:"" help:"Sign in."`
	Logout  logoutCommand  `cmd:"" help:"Sign out, and end the session on the platform."`
	Query   queryCommand   `cmd:"" help:"Run SQL under a grant. Ends with 0 released, 3 denied, 4 waits for an officer, 1 failed."`
	Explain explainCommand `cmd:"" help:"Show what the guard makes of a query, without running it."`
	Job     jobCommand     `cmd:"" help:"Your jobs."`
	Budget  budgetCommand  `cmd:"" help:"What noised answers have cost, and what may still be spent."`
	Usage   usageCommand   `cmd:"" help:"What jobs took, for billing."`
	Dataset datasetCommand `cmd:"" help:"Data sets: take in, list, describe."`
	Grant   grantCommand   `cmd:"" help:"Grants: who may ask what, for which scenario."`
	Release releaseCommand `cmd:"" help:"Results that wait for an officer."`
	Audit   auditCommand   `cmd:"" help:"The log that nobody can rewrite unnoticed."`
	Vault   vaultCommand   `cmd:"" help:"The sealed data sets and their keys, on the platform's own machine."`
	Account accountCommand `cmd:"" help:"Who may sign in."`

	Organisation organisationCommand `cmd:"" help:"Organisations and what they are admitted for."`

	Demo    demoCommand    `cmd:"" help:"Invent a city, start the platform on it and walk a scenario through."`
	Lab     labCommand     `cmd:"" help:"Run queries on data sets at hand, without a platform: see what they would give away."`
	Doctor  doctorCommand  `cmd:"" help:"Try every layer of the workers' confinement on this machine, and say what to do."`
	Docs    docsCommand    `cmd:"" help:"The documentation that is made from the code."`
	Whoami  whoamiCommand  `cmd:"" help:"Tell which account acts, and what it may do."`
	Version versionCommand `cmd:"" help:"Tell which build this is."`

	Completion completionCommand `cmd:"" help:"Print a script by which a shell completes commands and flags."`
}

// run is the whole program but for the process around it: it parses, runs one command, and gives the exit status.
func run(ctx context.Context, args []string, t *terminal) int {
	var c commands
	t.speak(languageOf(args, t.getenv))
	parser, exited := newParser(&c, t)
	parsed, err := parser.Parse(withComments(args))
	switch {
	case c.Lang != "" && c.Lang != "zh" && c.Lang != "en":
		t.complain(problem.New("cli.no-such-language", "name", printable(c.Lang)))
		return exitUsage
	case exited.done: // help was asked for and given
		return exited.code
	case err != nil:
		t.complain(err)
		return exitUsage
	}
	t.speak(chosenLanguage(c.Lang, t.getenv))
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(t, &c, parser)
	var s status
	switch {
	case err == nil:
		return exitReleased
	case errors.As(err, &s):
		return int(s)
	}
	t.complain(err)
	return exitFailed
}

// ended remembers that the parser wanted to end the program.
type ended struct {
	done bool
	code int
}

func newParser(c *commands, t *terminal) (*kong.Kong, *ended) {
	exited := &ended{}
	parser := kong.Must(c,
		kong.Name("weir"),
		kong.Description("Work with public data that must not leave."),
		kong.UsageOnError(),
		kong.Writers(t.out, t.err),
		kong.Help(t.printHelp),
		kong.Exit(func(code int) { exited.done, exited.code = true, code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	translateHelp(parser.Model.Node, t)
	return parser, exited
}
