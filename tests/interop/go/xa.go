package main

import (
	"context"
	"database/sql"
	"net/url"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// runXa takes from one account and gives to another, each in a local transaction of its own that is prepared first;
// "answer" is the second's.
func runXa(b *bank, gid string, q url.Values) (string, error) {
	custom := func(x *dtmcli.Xa) { options(&x.TransBase, q) }
	return "", dtmcli.XaGlobalTransaction2(b.dtm, gid, custom, func(x *dtmcli.Xa) (*resty.Response, error) {
		take := url.Values{"database": q["database"], "amount": {"-30"}}
		response, err := x.CallBranch(money{30}, b.url+"/xa?"+take.Encode())
		if err != nil {
			return response, err
		}
		give := url.Values{"database": q["database"], "amount": {"30"}, "business": q["business"]}
		return x.CallBranch(money{30}, b.url+"/xa?"+give.Encode())
	})
}

func (b *bank) moveByXa(q url.Values) error {
	_, conf, err := b.open(q.Get("database"))
	if err != nil {
		return err
	}
	return b.detached(q.Get("database"), func(note func(*sql.DB) error) error {
		return dtmcli.XaLocalTransaction(q, conf, func(db *sql.DB, x *dtmcli.Xa) error {
			if err := note(db); err != nil {
				return err
			}
			if err := add(db, conf, x.Gid, "xa", amountOf(q)); err != nil {
				return err
			}
			return asked(q.Get("business"), 1)
		})
	})
}

// detached makes a first phase and waits until the connection that prepared it has let the transaction go. Until then
// MariaDB tells everybody else that it does not know it, which the library takes for a second phase that was done before.
func (b *bank) detached(database string, first func(note func(*sql.DB) error) error) error {
	pool, conf, err := b.open(database)
	if err != nil || conf.Driver != dtmcli.DBTypeMysql {
		if err == nil {
			err = first(func(*sql.DB) error { return nil })
		}
		return err
	}
	var id int64
	err = first(func(db *sql.DB) error { return db.QueryRow("select connection_id()").Scan(&id) })
	for left := 1; left > 0 && id != 0; {
		row := pool.QueryRow("select count(*) from information_schema.innodb_trx where trx_mysql_thread_id = ?", id)
		if e := row.Scan(&left); e != nil {
			return e
		}
		time.Sleep(200 * time.Millisecond) // InnoDB shows the same to whoever asks again within 100 ms, for ever
	}
	return err
}

// runXaGrpc is runXa over gRPC on both sides.
func runXaGrpc(b *bank, gid string, q url.Values) (string, error) {
	custom := func(x *dtmgrpc.XaGrpc) { options(&x.TransBase, q) }
	return "", dtmgrpc.XaGlobalTransaction2(b.dtmGrpc, gid, custom, func(x *dtmgrpc.XaGrpc) error {
		reply := &emptypb.Empty{}
		take := url.Values{"database": q["database"], "amount": {"-30"}}
		if err := x.CallBranch(orderOf(take), b.grpc+"/interop.Bank/Xa", reply); err != nil {
			return err
		}
		give := url.Values{"database": q["database"], "amount": {"30"}, "answer": q["answer"]}
		return x.CallBranch(orderOf(give), b.grpc+"/interop.Bank/Xa", reply)
	})
}

func (b *bank) moveByXaGrpc(ctx context.Context, o order) error {
	name := o.Database
	if name == "" { // the second phase comes without a payload
		name = "mysql"
	}
	_, conf, err := b.open(name)
	if err != nil {
		return err
	}
	return b.detached(name, func(note func(*sql.DB) error) error {
		return dtmgrpc.XaLocalTransaction(ctx, conf, func(db *sql.DB, x *dtmgrpc.XaGrpc) error {
			if err := note(db); err != nil {
				return err
			}
			return add(db, conf, x.Gid, "xa", o.Amount)
		})
	})
}
