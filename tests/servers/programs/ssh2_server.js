// Serve a folder with npm's ssh2, which has the protocol but no server of files: PORT HOST_KEY FOLDER USER PASSWORD.
'use strict';
const fs = require('fs');
const path = require('path');
const { Server, utils: { sftp: { STATUS_CODE } } } = require('ssh2');

const [port, hostKey, root, user, password] = process.argv.slice(2);
const CODES = { ENOENT: STATUS_CODE.NO_SUCH_FILE, ENOTDIR: STATUS_CODE.NO_SUCH_FILE, EACCES: STATUS_CODE.PERMISSION_DENIED };

function attributes(stats) {
  return { mode: stats.mode, uid: stats.uid, gid: stats.gid, size: stats.size, atime: stats.atimeMs / 1000, mtime: stats.mtimeMs / 1000 };
}

function serve(sftp) {
  const open = new Map();
  let count = 0;
  const real = (name) => path.join(root, path.posix.normalize('/' + name));
  const keep = (id, value) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(count);
    open.set(count++, value);
    sftp.handle(id, handle);
  };
  const held = (handle) => open.get(handle.readUInt32BE(0));
  const attempt = (id, work) => {
    try {
      work();
    } catch (err) {
      sftp.status(id, CODES[err.code] ?? STATUS_CODE.FAILURE, err.code);
    }
  };
  sftp.on('REALPATH', (id, name) => sftp.name(id, [{ filename: path.posix.normalize('/' + name), longname: '', attrs: {} }]));
  sftp.on('STAT', (id, name) => attempt(id, () => sftp.attrs(id, attributes(fs.statSync(real(name))))));
  sftp.on('LSTAT', (id, name) => attempt(id, () => sftp.attrs(id, attributes(fs.lstatSync(real(name))))));
  sftp.on('FSTAT', (id, handle) => attempt(id, () => sftp.attrs(id, attributes(fs.fstatSync(held(handle).file)))));
  sftp.on('OPEN', (id, name) => attempt(id, () => keep(id, { file: fs.openSync(real(name), 'r') })));
  sftp.on('READ', (id, handle, offset, length) => attempt(id, () => {
    const data = Buffer.alloc(Math.min(length, 32768));
    const read = fs.readSync(held(handle).file, data, 0, data.length, offset);
    return read ? sftp.data(id, data.subarray(0, read)) : sftp.status(id, STATUS_CODE.EOF);
  }));
  sftp.on('OPENDIR', (id, name) => attempt(id, () => keep(id, { folder: real(name), names: fs.readdirSync(real(name)) })));
  sftp.on('READDIR', (id, handle) => attempt(id, () => {
    const listing = held(handle);
    const names = listing.names.splice(0, 100);
    if (!names.length) return sftp.status(id, STATUS_CODE.EOF);
    sftp.name(id, names.map((name) => {
      const stats = fs.lstatSync(path.join(listing.folder, name));
      return { filename: name, longname: `${stats.isDirectory() ? 'd' : '-'} ${name}`, attrs: attributes(stats) };
    }));
  }));
  sftp.on('CLOSE', (id, handle) => {
    const { file } = held(handle);
    if (file !== undefined) fs.closeSync(file);
    open.delete(handle.readUInt32BE(0));
    sftp.status(id, STATUS_CODE.OK);
  });
}

new Server({ hostKeys: [fs.readFileSync(hostKey)] }, (client) => {
  client.on('authentication', (attempt) => {
    const right = attempt.method === 'password' && attempt.username === user && attempt.password === password;
    return right ? attempt.accept() : attempt.reject(['password']);
  });
  client.on('session', (accept) => accept().on('sftp', (start) => serve(start())));
  client.on('error', () => {});
}).listen(Number(port), '127.0.0.1');
