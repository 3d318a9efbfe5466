-- Messages of many chats in turn, each an update of its own: wrk ... -- FIRST_UPDATE_ID CHATS SECRET
local first, chats, secret, sent = 0, 1, "", 0

function init(arguments)
  first, chats, secret = tonumber(arguments[1]), tonumber(arguments[2]), arguments[3]
end

function request()
  local update, chat = first + sent, 1 + sent % chats
  sent = sent + 1
  local who = string.format('"id":%d,"first_name":"Maria"', chat)
  local body = string.format(
    '{"update_id":%d,"message":{"message_id":%d,"date":1700000000,"text":"hello",' ..
    '"chat":{%s,"type":"private"},"from":{%s,"is_bot":false}}}', update, sent, who, who)
  local headers = {
    ["Content-Type"] = "application/json",
    ["X-Telegram-Bot-Api-Secret-Token"] = secret,
  }
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
