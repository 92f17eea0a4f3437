// Package neterr names the errors of sockets that a transport tells apart. Most
// systems have them in package syscall; Plan 9 has texts.
package neterr
