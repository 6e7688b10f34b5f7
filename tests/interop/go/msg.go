package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	_ "github.com/go-sql-driver/mysql" // the drivers, by the names that DBConf has for them
	_ "github.com/lib/pq"
)

func amountOf(q url.Values) int {
	amount, err := strconv.Atoi(q.Get("amount"))
	if err != nil {
		return 1
	}
	return amount
}

func (b *bank) open(name string) (*sql.DB, dtmcli.DBConf, error) {
	conf, known := b.databases[name]
	if !known {
		return nil, conf, fmt.Errorf("no database %q", name)
	}
	db, err := dtmimp.PooledDB(conf)
	return db, conf, err
}

// add changes an account, which is a row of its own for each gid and name.
func add(db dtmcli.DB, conf dtmcli.DBConf, gid, account string, amount int) error {
	statement := "insert into interop_accounts(gid, account, amount) values(?, ?, ?)"
	_, err := dtmimp.DBExec(conf.Driver, db, statement, gid, account, amount)
	return err
}

// runMsg makes a local transaction and sends what it says, once; "business" says how the local one ends.
func runMsg(b *bank, gid string, q url.Values) (string, error) {
	db, conf, err := b.open(q.Get("database"))
	if err != nil {
		return "", err
	}
	move := b.url + "/move" + query(q, "answer", "database")
	message := dtmcli.NewMsg(b.dtm, gid).Add(move, money{30}).Add(b.url+"/credit", money{30})
	options(&message.TransBase, q)
	ask := b.url + "/sent" + query(q, "database")
	return "", message.DoAndSubmit(ask, func(bb *dtmcli.BranchBarrier) error {
		bb.DBType = conf.Driver
		return business(bb, db, conf, gid, q.Get("business"))
	})
}

func business(bb *dtmcli.BranchBarrier, db *sql.DB, conf dtmcli.DBConf, gid, ending string) error {
	err := bb.CallWithDB(db, func(tx *sql.Tx) error {
		if ending == "refuse" {
			return fmt.Errorf("no money. %w", dtmcli.ErrFailure)
		}
		if ending == "fail" {
			return errors.New("broken before the commit")
		}
		return add(tx, conf, gid, "sender", -30)
	})
	if err == nil && ending == "fail-late" {
		return errors.New("broken after the commit")
	}
	return err
}

// runMsgTwice lets the server's question come before the business: the question wins, for ever.
func runMsgTwice(b *bank, gid string, q url.Values) (string, error) {
	db, conf, err := b.open(q.Get("database"))
	if err != nil {
		return "", err
	}
	message := dtmcli.NewMsg(b.dtm, gid).Add(b.url+"/credit", money{30})
	options(&message.TransBase, q)
	return "", message.DoAndSubmit(b.url+"/sent"+query(q, "database"), func(bb *dtmcli.BranchBarrier) error {
		bb.DBType = conf.Driver
		if err := bb.QueryPrepared(db); !errors.Is(err, dtmcli.ErrFailure) {
			return fmt.Errorf("asked too early, the barrier said %v", err)
		}
		return business(bb, db, conf, gid, "")
	})
}

func (b *bank) wasSent(q url.Values) error {
	bb, err := dtmcli.BarrierFromQuery(q)
	if err != nil {
		return err
	}
	return b.askBarrier(bb, q.Get("database"))
}

func (b *bank) askBarrier(bb *dtmcli.BranchBarrier, database string) error {
	db, conf, err := b.open(database)
	if err != nil {
		return err
	}
	bb.DBType = conf.Driver
	return bb.QueryPrepared(db)
}

func (b *bank) moveOnce(q url.Values) error {
	bb, err := dtmcli.BarrierFromQuery(q)
	if err != nil {
		return err
	}
	db, conf, err := b.open(q.Get("database"))
	if err != nil {
		return err
	}
	bb.DBType = conf.Driver
	return bb.CallWithDB(db, func(tx *sql.Tx) error { return add(tx, conf, q.Get("gid"), "receiver", 30) })
}

// runMsgGrpc is runMsg over gRPC on both sides.
func runMsgGrpc(b *bank, gid string, q url.Values) (string, error) {
	db, conf, err := b.open(q.Get("database"))
	if err != nil {
		return "", err
	}
	message := dtmgrpc.NewMsgGrpc(b.dtmGrpc, gid).Add(b.grpc+"/interop.Bank/Credit", orderOf(q))
	options(&message.TransBase, q)
	return "", message.DoAndSubmit(b.grpc+"/interop.Bank/Sent", func(bb *dtmcli.BranchBarrier) error {
		bb.DBType = conf.Driver
		return business(bb, db, conf, gid, q.Get("business"))
	})
}

func (b *bank) wasSentGrpc(ctx context.Context, o order) error {
	bb, err := dtmgrpc.BarrierFromGrpc(ctx)
	if err != nil {
		return err
	}
	name := o.Database
	if name == "" { // the question comes without a payload
		for name = range b.databases {
			if name == "mysql" {
				break
			}
		}
	}
	return b.askBarrier(bb, name)
}
