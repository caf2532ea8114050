#!/usr/bin/env bash
# A real web server (nginx with its Lua module) whose shards arrive with faults, for tests/data/test_streaming.py.
#   shard_server.sh up FOLDER PORT STATE    serve FOLDER on 127.0.0.1:PORT; logs and process id go to the folder STATE
#   shard_server.sh down STATE
# The same files lie below each of these; times=K limits a fault to the first K requests of each shard:
#   /plain/  as they are          /whole/  without Range         /slow/  300 kB/s         /locked/  403
#   /busy/?p=0.6                  503 for a share of requests, the same ones each time
#   /cut/?bytes=B&times=K         the connection is cut after about B bytes; /cutwhole/ the same without Range
#   /stall/?times=K               silence after the first 64 KiB; /stallwhole/ the same without Range
#   /trickle/                     200 B/s after the first 64 KiB
#   /flip/?at=A&times=K           byte A of what is sent is another one
set -euo pipefail

up() {
    local folder port=$2 state
    folder=$(realpath "$1") && mkdir -p "$3" && state=$(realpath "$3")
    count='local n = ngx.shared.requests:incr(ngx.var.uri, 1, 0)
           local faulty = ngx.var.uri:find("%.tar$") and n <= (tonumber(ngx.var.arg_times) or 1e9)'
    cut="access_by_lua_block { $count; ngx.ctx.left = faulty and tonumber(ngx.var.arg_bytes) or nil }
         body_filter_by_lua_block {
             if ngx.ctx.left then
                 ngx.ctx.left = ngx.ctx.left - #(ngx.arg[1] or '')
                 if ngx.ctx.left < 0 then return ngx.ERROR end
             end
         }"
    stall="access_by_lua_block { $count; ngx.ctx.faulty = faulty }
           limit_rate 1; limit_rate_after 64k;
           header_filter_by_lua_block { if not ngx.ctx.faulty then ngx.var.limit_rate = 0 end }"
    cat >"$state/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
$( [ "$(id -u)" = 0 ] && echo "user root;" )
worker_processes 1;
pid $state/pid;
error_log $state/error.log warn;
events { worker_connections 256; }
http {
    log_format brief '\$status \$request_method \$uri \$http_range';
    access_log $state/access.log brief;
    default_type application/octet-stream;
    output_buffers 1 16k;
    client_body_temp_path $state/body; proxy_temp_path $state/proxy; fastcgi_temp_path $state/fastcgi;
    uwsgi_temp_path $state/uwsgi; scgi_temp_path $state/scgi;
    lua_shared_dict requests 4m;
    server {
        listen 127.0.0.1:$port;
        location /plain/ { alias $folder/; }
        location /whole/ { alias $folder/; max_ranges 0; }
        location /slow/ { alias $folder/; limit_rate 300k; }
        location /trickle/ { alias $folder/; limit_rate 200; limit_rate_after 64k; }
        location /locked/ { return 403; }
        location /busy/ {
            alias $folder/;
            access_by_lua_block {
                $count
                local drawn = tonumber(ngx.md5(ngx.var.uri .. n):sub(1, 6), 16) / 16777216
                if faulty and drawn < tonumber(ngx.var.arg_p) then ngx.header["Retry-After"] = "0"; return ngx.exit(503) end
            }
        }
        location /cut/ { alias $folder/; $cut }
        location /cutwhole/ { alias $folder/; max_ranges 0; $cut }
        location /stall/ { alias $folder/; $stall }
        location /stallwhole/ { alias $folder/; max_ranges 0; $stall }
        location /flip/ {
            alias $folder/;
            access_by_lua_block { $count; ngx.ctx.left = faulty and tonumber(ngx.var.arg_at) or nil }
            body_filter_by_lua_block {
                local data, at = ngx.arg[1] or "", ngx.ctx.left
                if at then
                    if at < #data and at >= 0 then
                        ngx.arg[1] = data:sub(1, at) .. string.char(255 - data:byte(at + 1)) .. data:sub(at + 2)
                    end
                    ngx.ctx.left = at - #data
                end
            }
        }
    }
}
CONF
    nginx -e "$state/error.log" -c "$state/nginx.conf"
}

case "${1:-}" in
up) up "$2" "$3" "$4" ;;
down) kill "$(cat "$2/pid")" ;;
*) sed -n '2,13s/^# \?//p' "$0" ;;
esac
