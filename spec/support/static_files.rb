# frozen_string_literal: true

require "fileutils"

# For specs of --public: an app with a public folder. The app answers 404 to all that is not a file.
module StaticFiles
  CONFIG = <<~'CONFIG'
    require "spec_app"

    run ->(env) { [404, { "content-type" => "text/plain", "x-app" => "yes" }, ["the app: #{env["REQUEST_METHOD"]}"]] }
  CONFIG

  LARGE = Array.new(500_000) { |number| format("%09d\n", number) }.join.freeze

  FILES = {
    "secret.txt" => "secret",
    "public/page.html" => "<p>page</p>", "public/style.css" => "p {}", "public/code.js" => "1", "public/data.json" => "{}",
    "public/picture.png" => "\x89PNG\0", "public/picture.svg" => "<svg/>", "public/plain.txt" => "text", "public/no_extension" => "?",
    "public/module.wasm" => "\0asm", "public/empty.txt" => "", "public/digits.txt" => "0123456789",
    "public/folder/inner.txt" => "inner", "public/with space.txt" => "space", "public/grüße.txt" => "unicode",
    "public/.hidden" => "secret", "public/.git/config" => "secret", "public/large.bin" => LARGE,
    "public/docs/index.html" => "docs", "public/dücs/index.html" => "docs", "public/odd/index.html/index.html" => "odd",
    "public/app.js" => "plain", "public/app.js.br" => "in br", "public/app.js.gz" => "in gz",
    "public/only.css" => "plain", "public/only.css.gz" => "gzip", "public/stale.js" => "plain", "public/stale.js.br" => "stale",
    "public/orphan.js.gz" => "gzip", "public/other.js" => "plain", "public/other.js.gz/file" => "a directory", "public/late/x" => ""
  }.freeze

  # When all files were changed: long ago, so that their ETags are strong.
  TIME = Time.utc(2024, 5, 10, 10)

  # Sets the files' times, and makes links, a device and a FIFO in the app's public folder.
  def self.prepare(app)
    in_public = ->(name) { File.join(app.dir, "public", name) }
    Dir.glob(in_public["**/*"]).each { |path| File.utime(TIME, TIME, path) }
    File.utime(TIME - 1, TIME - 1, in_public["stale.js.br"])
    { "link_out.txt" => File.join(app.dir, "secret.txt"), "folder_out" => "..", "root" => "/", "link_in.txt" => "plain.txt",
      "docs_link" => in_public["docs"], "device" => "/dev/zero", "plain.txt.gz" => File.join(app.dir, "secret.txt") }
      .each { |link, target| File.symlink(target, in_public[link]) }
    File.mkfifo(in_public["fifo"])
  end

  def public_path(name) = File.join(app.dir, "public", name)
end
